package schema

import (
	"encoding/json"
	"strings"

	"ordo/api"
)

// object is a JSON object of an AsyncAPI document.
type object = map[string]any

func ref(path ...string) object { return object{"$ref": "#/" + strings.Join(path, "/")} }

// AsyncAPI is an AsyncAPI 3.0 document of the shop, for tools that make pages and
// code of one. The shop receives commands and queries; it sends events, effects,
// timers and news of dead letters. Entries of buckets are not messages, and are left
// out.
func AsyncAPI(version string) json.RawMessage {
	channels, operations, schemas := object{}, object{}, object{}
	for _, s := range book().Subjects {
		if s.Kind == "bucket" {
			continue
		}
		id := strings.TrimSuffix(s.Subject, ".*")
		channels[id] = s.channel()
		action := "send"
		if s.Kind == "command" || s.Kind == "query" {
			action = "receive"
		}
		op := object{"action": action, "channel": ref("channels", id), "summary": s.Description,
			"tags": []object{{"name": s.Actor}, {"name": s.Kind}}}
		if s.Kind == "query" {
			reply := id + ".reply"
			channels[reply] = object{"address": nil, "messages": object{
				"reply": message(s.Reply, "", examples()[s.Subject].Reply)}}
			op["reply"] = object{"channel": ref("channels", reply)}
		}
		operations[id] = op
	}
	for name, def := range book().Defs {
		schemas[name] = json.RawMessage(strings.ReplaceAll(string(def), `"#/$defs/`,
			`"#/components/schemas/`))
	}
	info := object{"title": "ordo", "version": version,
		"description": "What the actors of a shop are told, asked and tell on NATS."}
	return api.Raw(object{"asyncapi": "3.0.0", "defaultContentType": "application/json",
		"info": info, "channels": channels, "operations": operations,
		"components": object{"schemas": schemas}})
}

// channel is a subject, whose star is a parameter.
func (s *Subject) channel() object {
	c := object{"address": s.Subject, "description": s.Description, "messages": object{
		"body": message(s.Type, s.Inner, examples()[s.Subject].Body)}}
	what := map[string]string{"event": "order", "timer": "class"}[s.Kind]
	if before, ok := strings.CutSuffix(s.Subject, "*"); ok {
		c["address"] = before + "{" + what + "}"
		c["parameters"] = object{what: object{"description": "The " + what + "."}}
	}
	return c
}

// message is a body of a type that may wrap another.
func message(name, inner string, example json.RawMessage) object {
	payload := object{"type": "object"}
	if name != "" {
		payload = ref("components", "schemas", name)
	}
	if inner != "" {
		wrapped := ref("components", "schemas", inner)
		payload = object{"allOf": []object{payload,
			{"properties": object{"data": wrapped, "body": wrapped}}}}
	}
	m := object{"payload": payload}
	if example != nil {
		m["examples"] = []object{{"payload": example}}
	}
	return m
}
