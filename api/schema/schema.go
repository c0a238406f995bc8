// Package schema holds the JSON Schema of every message, query, answer and entry
// of a bucket, by its subject, with an example of each. The schemas are drawn from
// the contract's types by `make docs`, and the examples from a shop that a test
// runs and checks against them. At run time nothing is checked, because sender and
// receiver are built from the same types.
package schema

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"ordo/api"
)

//go:embed schemas.json
var file []byte

//go:embed examples.json
var exampleFile []byte

// Book is what schemas.json holds.
type Book struct {
	// Defs are the types by name.
	Defs map[string]json.RawMessage `json:"defs"`
	// Subjects are in the order of their names.
	Subjects []Subject `json:"subjects"`
}

// Subject is what stands on a subject.
type Subject struct {
	// Subject may have * for an order's id, a class of timers or a key.
	Subject string `json:"subject"`
	// Actor handles or answers it, or has published it; empty for a bucket.
	Actor string `json:"actor"`
	// From are the users of nats.conf that may publish it, but for the actor that
	// handles it, if there are others: api for what comes from outside.
	From []string `json:"from,omitempty"`
	// Kind is command, query, event, timer, effect, dead-letter or bucket.
	Kind        string `json:"kind"`
	Description string `json:"description"`
	// Type names the body in Defs, and Reply the answer of a query or what came of
	// an effect; empty for a body that says nothing.
	Type  string `json:"type,omitempty"`
	Reply string `json:"reply,omitempty"`
	// Inner names the type of what is wrapped: an event's data, an effect's work.
	Inner string `json:"inner,omitempty"`
}

// book reads the file once.
var book = sync.OnceValue(func() (b Book) {
	// A file that can't be read is found by the test that draws it.
	_ = json.Unmarshal(file, &b)
	return b
})

// Example is a body from a shop of a test, and the answer to a query.
type Example struct {
	Body  json.RawMessage `json:"body,omitempty"`
	Reply json.RawMessage `json:"reply,omitempty"`
}

var examples = sync.OnceValue(func() (all map[string]Example) {
	_ = json.Unmarshal(exampleFile, &all) // as book does
	return all
})

// Examples are by the subjects of All; not all have one.
func Examples() map[string]Example { return maps.Clone(examples()) }

// All is what is known of all subjects.
func All() []Subject { return slices.Clone(book().Subjects) }

// Find is the row of the subject of a message; its pattern may have *.
func Find(subject string) (Subject, bool) {
	words := strings.Split(subject, ".")
	for _, s := range book().Subjects {
		if matches(strings.Split(s.Subject, "."), words) {
			return s, true
		}
	}
	return Subject{}, false
}

func matches(pattern, words []string) bool {
	if len(pattern) != len(words) {
		return false
	}
	for i, p := range pattern {
		if p != "*" && p != words[i] {
			return false
		}
	}
	return true
}

// Of answers a GetSchema for an actor; false when it has no such subject. All
// actors have those of the buckets.
func Of(actor string, q api.GetSchema) (json.RawMessage, bool) {
	if q.Subject == "" {
		list := []Subject{}
		for _, s := range book().Subjects {
			if s.Actor == actor || s.Actor == "" {
				list = append(list, s)
			}
		}
		return api.Raw(list), true
	}
	s, ok := Find(q.Subject)
	if !ok || s.Actor != actor && s.Actor != "" {
		return nil, false
	}
	return s.document(q.Reply), true
}

// document is the schema of a body, or of the answer, with all that it refers to.
// Where something is wrapped (data, body), it says of which type that is.
func (s *Subject) document(reply bool) json.RawMessage {
	doc := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id": "urn:ordo:" + s.Subject, "description": s.Description}
	name, inner, example := s.Type, s.Inner, examples()[s.Subject].Body
	if reply {
		name, inner, example = s.Reply, "", examples()[s.Subject].Reply
		doc["$id"] = "urn:ordo:" + s.Subject + ":reply"
	}
	if example != nil {
		doc["examples"] = []json.RawMessage{example}
	}
	if name == "" {
		doc["type"] = "object"
		return api.Raw(doc)
	}
	defs := map[string]json.RawMessage{}
	gather(name, defs)
	doc["$ref"] = "#/$defs/" + name
	if inner != "" {
		gather(inner, defs)
		ref := map[string]string{"$ref": "#/$defs/" + inner}
		doc["properties"] = map[string]any{"data": ref, "body": ref}
	}
	doc["$defs"] = defs
	return api.Raw(doc)
}

// gather adds a type and all that it refers to.
func gather(name string, defs map[string]json.RawMessage) {
	if _, known := defs[name]; known {
		return
	}
	def := book().Defs[name]
	defs[name] = def
	rest := string(def)
	for {
		_, after, found := strings.Cut(rest, `"#/$defs/`)
		if !found {
			return
		}
		var to string
		to, rest, _ = strings.Cut(after, `"`)
		gather(to, defs)
	}
}
