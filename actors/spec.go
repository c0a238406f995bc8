// Package actors is the runtime of ordo: it runs a domain as an actor, the
// single writer of one SQLite file, fed by one JetStream stream, exactly once
// by message id.
//
// A domain is a Spec: a schema, handlers for its messages and endpoints for
// its queries. Handlers are pure step functions of (database, message): they
// get a Tx and one message, and never see a clock, a random source, a network
// or a configuration other than what a message put into the database. So a
// database can be rebuilt from its stream.
//
// The package decides how messages are recognised, numbered, committed,
// resent and quarantined. It never decides a rule of the shop.
package actors

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"

	"ordo/api"
)

// Spec describes one domain.
type Spec struct {
	// Name is the actor's name in subjects, streams and files: lower-case
	// letters.
	Name string
	// Version of the domain's rules, semantic. Raise it when a release handles
	// some message otherwise than the one before: then a file of that one can't
	// be rebuilt from its stream, and opening it is a cut.
	Version string
	// Description is one line for operators.
	Description string
	// Schema is the SQL of the domain's own tables, version 1.
	Schema string
	// Migrations, when not nil, hold the later versions: goose files named
	// 00002_….sql and so on.
	Migrations fs.FS
	// Steps, when not empty, is the SQL that tells which steps of orders the actor
	// has done, when that does not stand in the runtime's table: columns order_id,
	// step, occurrence and state, as in api.FoundStep, with the place of the
	// schema's name as %[1]s.
	Steps string
	// Commands are the messages it handles, one entry a type.
	Commands []Command
	// Queries are the questions it answers, one entry a type.
	Queries []Endpoint
	// Events, when not nil, handles every event of every domain; only the
	// journal has it.
	Events func(tx *Tx, id string, e *api.Event) error
	// Outcomes handle the final outcomes of the actor's effects, by the
	// effect's name. Effects without an entry are just closed.
	Outcomes map[string]func(tx *Tx, o *api.Outcome) error
	// Again are the effects whose handler takes every outcome that differs from
	// the one before, and not only the first: what is seen of the world may
	// have changed. For all others that is an incident.
	Again []string
	// Tick, when not nil, sweeps the domain's deadlines, at least once in 30 s.
	// It handles at most SweepLimit rows and answers true when there may be
	// more, which has it called again at once.
	Tick func(tx *Tx) (more bool, err error)
}

// SweepLimit is the most rows one tick handles.
const SweepLimit = 1000

// Command binds a message type to its handler. Make it with On.
type Command struct {
	Verb string
	// Message is the message's type, for documents.
	Message reflect.Type
	// Senders are the actors that send it to each other, numbered; none for what
	// comes from edges and timers.
	Senders []string
	handle  func(tx *Tx, body []byte) error
}

// From names the actors that send a message. Under their numbers it is taken from
// them alone.
func (c Command) From(actors ...string) Command {
	c.Senders = actors
	return c
}

// On binds the handler of one message type. A handler that returns an
// *api.Error refuses: what it wrote is rolled back and the refusal is the
// message's outcome. Any other error is a fault: the message is tried again
// and then becomes a dead letter.
func On[M any, P interface {
	*M
	api.Message
}](handle func(tx *Tx, m P) error) Command {
	return Command{
		Verb:    P(new(M)).Route().Verb,
		Message: reflect.TypeFor[M](),
		handle: func(tx *Tx, body []byte) error {
			m := P(new(M))
			if err := json.Unmarshal(body, m); err != nil {
				return fmt.Errorf("decode: %w", err)
			}
			return handle(tx, m)
		},
	}
}

// Endpoint binds a query type to its answer. Make it with Answer.
type Endpoint struct {
	Name        string
	Description string
	// Query and Reply are the types asked with and answered, for documents.
	Query, Reply reflect.Type
	answer       func(v *View, body []byte) (any, error)
	// direct answers a query of its own type without JSON; nil for none.
	direct func(v *View, q any) (answer any, ok bool, err error)
}

// Answer binds the function that answers one query type from committed state.
// An *api.Error is answered as such.
func Answer[Q, R any, P interface {
	*Q
	api.Query
}](description string, answer func(v *View, q P) (R, error)) Endpoint {
	return Endpoint{
		Name:        P(new(Q)).Endpoint().Verb,
		Description: description,
		Query:       reflect.TypeFor[Q](),
		Reply:       reflect.TypeFor[R](),
		answer: func(v *View, body []byte) (any, error) {
			q := P(new(Q))
			if len(body) > 0 {
				if err := json.Unmarshal(body, q); err != nil {
					return nil, api.Refuse(api.CodeInvalid, "query: %v", err)
				}
			}
			return answer(v, q)
		},
		direct: func(v *View, q any) (any, bool, error) {
			typed, ok := q.(P)
			if !ok {
				return nil, false, nil
			}
			r, err := answer(v, typed)
			return r, true, err
		},
	}
}
