// Package journal keeps every event of every order for good, in the order of
// arrival, and finds them again by order and by type. It only ever appends: it
// never decides anything about an order, and changes or forgets no event.
package journal

import (
	_ "embed"

	"ordo/actors"
)

//go:embed schema.sql
var schema string

// Spec describes the journal. Row L4.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        actors.Journal,
		Version:     "1.0.0",
		Description: "Every event of every order, append-only.",
		Schema:      schema,
		Events:      keep,
		Queries: []actors.Endpoint{
			actors.Answer("Events, oldest first, by order and type.", listJournal),
		},
	}
}
