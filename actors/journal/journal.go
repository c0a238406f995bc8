// Package journal keeps every event of every order for good, in the order of
// arrival, and finds them again by order and by type. It only ever appends: it
// never decides anything about an order, and changes or forgets no event. It
// also decides which endpoints of others get an event, when it is sent and sent
// again, and when an endpoint gets no more. It never calls one itself: a worker
// does.
package journal

import (
	"embed"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// migrations are the later versions of the tables.
//
//go:embed 0*.sql
var migrations embed.FS

// Spec describes the journal. Rows L4, P8.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        actors.Journal,
		Version:     "1.2.0",
		Description: "Every event of every order, append-only.",
		Schema:      schema,
		Migrations:  migrations,
		Events:      keep,
		Commands: []actors.Command{
			actors.On(createWebhook),
			actors.On(changeWebhook),
			actors.On(deleteWebhook),
			actors.On(rotateWebhook),
			actors.On(testWebhook),
			actors.On(replayWebhook),
			actors.On(sendDue),
		},
		Queries: []actors.Endpoint{
			actors.Answer("Events, oldest first, by order and type.", listJournal),
			actors.Answer("Endpoints that get events.", listWebhooks),
			actors.Answer("One endpoint by its id.", getWebhook),
			actors.Answer("Deliveries to an endpoint, newest first.", listDeliveries),
			actors.Answer("One delivery with its tries.", getDelivery),
			actors.Answer("What a try sends, with the secrets; for workers.", getCall),
		},
		Tick: sweep,
		Outcomes: map[string]func(*actors.Tx, *api.Outcome) error{
			api.EffectWebhook: tried,
		},
	}
}
