// Package schema holds the JSON Schema of every message, query and answer, by its
// subject. The schemas are drawn from the contract's types by `make docs`, which a
// test holds against them; at run time nothing is checked against them, because
// sender and receiver are built from the same types.
package schema

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"ordo/api"
)

//go:embed schemas.json
var file []byte

// Book is what schemas.json holds.
type Book struct {
	// Defs are the types by name.
	Defs map[string]json.RawMessage `json:"defs"`
	// Subjects are in the order of their names.
	Subjects []Subject `json:"subjects"`
}

// Subject is what stands on a subject.
type Subject struct {
	// Subject may end in * for an order's id.
	Subject string `json:"subject"`
	// Actor handles or answers it, or has published it.
	Actor string `json:"actor"`
	// Kind is command, query, event, timer, effect or dead-letter.
	Kind        string `json:"kind"`
	Description string `json:"description"`
	// Type names the body in Defs, and Reply the answer of a query; empty for a
	// body that says nothing.
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

// Of answers a GetSchema for an actor; false when it has no such subject.
func Of(actor string, q api.GetSchema) (json.RawMessage, bool) {
	if q.Subject == "" {
		list := []Subject{}
		for _, s := range book().Subjects {
			if s.Actor == actor {
				list = append(list, s)
			}
		}
		return api.Raw(list), true
	}
	s, ok := Find(q.Subject)
	if !ok || s.Actor != actor {
		return nil, false
	}
	if q.Reply {
		return Document(s.Subject, s.Description, s.Reply, ""), true
	}
	return Document(s.Subject, s.Description, s.Type, s.Inner), true
}

// Document is the schema of a type with all that it refers to. Where inner is not
// empty, what the type wraps (data, body) is of that type.
func Document(id, description, name, inner string) json.RawMessage {
	doc := map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id": "urn:ordo:" + id, "description": description}
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
