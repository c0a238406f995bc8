// Package api is the contract between the actors of a shop, its edges and its
// operators: commands, replies, queries, events, errors, money and ids, one
// file per domain. It decides names and JSON forms; it never talks to a
// database or a network, and imports only the standard library and ulid.
package api

import "encoding/json"

// Message is a command to one actor. Every message has a Go type of its own,
// and every type has one receiver and one verb, so sending needs no address.
// On the wire it is the JSON of the type on the subject
// ordo.<actor>.<shard>.<verb>.
type Message interface {
	// Route names the receiver and the verb. It must not depend on the value.
	Route() Route
}

// Route is the address of a message: the actor that handles it and the verb
// under which it does.
type Route struct {
	Actor string
	Verb  string
}

// Query is a question to one actor about its committed state, answered by the
// NATS micro endpoint ordo.q.<actor>.<name>. It changes nothing.
type Query interface {
	// Endpoint names the actor asked and the endpoint. It must not depend on
	// the value.
	Endpoint() Route
}

// Event is a fact about an order, past tense, kept by the journal for good and
// readable by anyone on ordo.event.<domain>.<past tense>.<order>.
type Event struct {
	// ID names a fact that an actor whose file was restored may tell once more,
	// so that the journal keeps it once; empty for the message's identity.
	ID string `json:"id,omitempty"`
	// Type is <domain>.<past tense>, for example order.placed.
	Type string `json:"type"`
	// Order is the order the fact is about.
	Order string `json:"order"`
	// User is whose order it is.
	User string `json:"user,omitempty"`
	// Data says more, in a form that the type fixes.
	Data json.RawMessage `json:"data,omitempty"`
}

// Step names one run of one saga step for one order. A participant does a step
// once and undoes it once, however often it is told to.
type Step struct {
	// Order is the order the step belongs to.
	Order string `json:"order"`
	// Name is the participant's verb for doing it, for example goods.reserve.
	Name string `json:"step"`
	// Occurrence is 0 for the order itself, else the number of the refund or
	// attempt that the step belongs to.
	Occurrence int `json:"occurrence,omitempty"`
}

// StepResult is a participant's answer to the order actor: the step was done,
// undone or refused. It is a committed fact of the participant.
type StepResult struct {
	Step
	// Undo is true when the answer is to an undo.
	Undo bool `json:"undo,omitempty"`
	// Refusal says why the step was refused; nil when it was done or undone.
	Refusal *Error `json:"refusal,omitempty"`
	// Data is what the step found or decided, in a form that the step fixes.
	Data json.RawMessage `json:"data,omitempty"`
}

// Route implements Message.
func (*StepResult) Route() Route { return Route{"order", "step-result"} }

// Page asks for a part of a list.
type Page struct {
	// Cursor is the Next of the page before; empty for the first one.
	Cursor string `json:"cursor,omitempty"`
	// Limit is the most items wanted, 1 to MaxPage; 0 means DefaultPage.
	Limit int `json:"limit,omitempty"`
}

// Sizes of pages, in items.
const (
	DefaultPage = 50
	MaxPage     = 200
)

// Size is the number of items to read for the page, within its limits.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultPage
	case p.Limit > MaxPage:
		return MaxPage
	}
	return p.Limit
}

// Limits of a message and an order.
const (
	// MaxMessage is the largest message an actor may send, in bytes.
	MaxMessage = 512 << 10
	// MaxLines is the most lines an order or a cart may have.
	MaxLines = 2000
	// MaxQuantity is the most units of one SKU in a line.
	MaxQuantity = 1_000_000
)
