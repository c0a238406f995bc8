package api

import "encoding/json"

// Result is what became of a message from an edge. Every actor answers
// GetResult for 48 hours of stream time.
type Result struct {
	// Hash is the SHA-256 of the message's body.
	Hash []byte `json:"hash"`
	// Refusal is nil when it was done.
	Refusal *Error `json:"refusal,omitempty"`
	// Value is the outcome, in a form that the message fixes; often empty.
	Value json.RawMessage `json:"value,omitempty"`
}

// GetResult asks an actor what became of a message from an edge; CodeNotFound
// when it has not been handled. Every actor has the endpoint EndpointResult.
type GetResult struct {
	ID string `json:"id"`
}

// Names of the endpoints and verbs that the runtime gives to every actor.
const (
	// EndpointResult takes a GetResult and answers a Result.
	EndpointResult = "result"
	// EndpointDead takes a ListLetters and answers a LetterList.
	EndpointDead = "dead"
	// EndpointStatus takes nothing and answers an ActorStatus.
	EndpointStatus = "status"
	// EndpointEffects takes a ListEffects and answers an EffectList.
	EndpointEffects = "effects"
	// EndpointSchema takes a GetSchema and answers a JSON Schema, or the actor's
	// subjects with a description each.
	EndpointSchema = "schema"
	// EndpointKnown takes a GetSteps and answers a FoundList.
	EndpointKnown = "known-steps"
	// VerbRetryDead takes a LetterRef and has the letter handled again. The
	// outcome is the letter's state then: "retried"; "dismissed" when it came
	// from an edge and was refused, which is its answer; "open" when it failed
	// again. CodeNotFound when it is not open.
	VerbRetryDead = "retry-dead"
	// VerbDismissDead takes a LetterRef. CodeNotFound when it is not open.
	VerbDismissDead = "dismiss-dead"
	// VerbTick has the actor sweep its deadlines; it carries nothing.
	VerbTick = "tick"
	// VerbOutcome takes an Outcome.
	VerbOutcome = "effect-outcome"
	// VerbVoid carries a number on a channel and nothing else.
	VerbVoid = "void"
)

// Effect is one try of work for the world outside.
type Effect struct {
	// ID is the effect's own, the same at every try.
	ID string `json:"id"`
	// Name is the worker's.
	Name string `json:"name"`
	// Attempt counts the tries, from 1.
	Attempt int             `json:"attempt"`
	Body    json.RawMessage `json:"body"`
	// Cause is the identity of the message that had it announced, if that is about
	// the same order; for traces, and not sent.
	Cause string `json:"-"`
}

// Outcome is a worker's report on one try of an effect.
type Outcome struct {
	Effect  string `json:"effect"`
	Attempt int    `json:"attempt"`
	// Final closes the effect; otherwise it will be tried again.
	Final bool            `json:"final"`
	Data  json.RawMessage `json:"data,omitempty"`
	// Error says why the try failed, in MaxOutcomeError bytes.
	Error string `json:"error,omitempty"`
}

// MaxOutcomeError is how many bytes of an error an Outcome carries.
const MaxOutcomeError = 500

// Letter is a dead letter: a message that could not be handled, with its
// error. Row M5.
type Letter struct {
	N       int64           `json:"n"`
	ID      string          `json:"id"`
	Subject string          `json:"subject"`
	Body    json.RawMessage `json:"body"`
	Error   string          `json:"error"`
	// Attempts is how often it was tried.
	Attempts int  `json:"attempts"`
	At       Time `json:"at"`
	// State is open, retried or dismissed.
	State string `json:"state"`
	// SettledBy is who settled it, or had it tried again the last time, Reason
	// why, and SettledAt when.
	SettledBy string `json:"settled_by,omitempty"`
	Reason    string `json:"reason,omitempty"`
	SettledAt Time   `json:"settled_at,omitzero"`
}

// LetterRef names a dead letter of the actor asked, and who wants something
// done about it, and why.
type LetterRef struct {
	N      int64  `json:"n"`
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ListLetters asks for an actor's dead letters, newest first.
type ListLetters struct {
	Page
	// State is open, retried or dismissed; empty for all.
	State string `json:"state,omitempty"`
	// N, when not 0, asks for that letter alone, with all of its error; of
	// others the first line is answered.
	N int64 `json:"n,omitempty"`
	// Contains, when not empty, leaves those with this text in body, subject or
	// id, among the MaxSearched newest.
	Contains string `json:"contains,omitempty"`
}

// MaxSearched is how many dead letters a search looks at.
const MaxSearched = 10_000

// LetterList answers ListLetters.
type LetterList struct {
	Letters []Letter `json:"items"`
	Next    string   `json:"next,omitempty"`
}

// ListEffects asks for the effects about an order, oldest first; without one, for
// open effects, those first whose next try comes first. Limit is as of a Page;
// there is one page.
type ListEffects struct {
	Order string `json:"order,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// EffectList answers ListEffects.
type EffectList struct {
	Effects []EffectView `json:"items"`
}

// EffectView is an effect as support sees it.
type EffectView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// State is open or closed.
	State string `json:"state"`
	// Attempts counts tries: those that failed, or were announced, whichever is
	// more.
	Attempts int  `json:"attempts"`
	At       Time `json:"at"`
	// NextTry is when an open one is tried again at the latest.
	NextTry Time `json:"next_try,omitzero"`
	// Error is why the last try failed that was not final, and FailedAt when.
	Error    string `json:"error,omitempty"`
	FailedAt Time   `json:"failed_at,omitzero"`
}

// FoundList is what a participant knows of an order's steps, MaxFound at most.
type FoundList struct {
	Found []FoundStep `json:"items"`
}

// ActorStatus is how an actor is, as readiness, metrics and operators see it.
type ActorStatus struct {
	Actor string `json:"actor"`
	Ready bool   `json:"ready"`
	// Fault says why it is not ready.
	Fault string `json:"fault,omitempty"`
	// Now is the newest stream time handled.
	Now Time `json:"now"`
	// Lag counts messages of the mailbox that are not committed yet; -1 when the
	// stream can't be asked.
	Lag int64 `json:"lag"`
	// Unconfirmed counts messages sent that their receivers have not been seen
	// to commit; Oldest is when the oldest of them was sent, 0 without any.
	Unconfirmed int64 `json:"unconfirmed"`
	Oldest      Time  `json:"oldest,omitzero"`
	// Stopped says by receiver why nothing is sent there any more.
	Stopped map[string]string `json:"stopped,omitempty"`
	// Dead counts open dead letters, Effects open effects, Incidents all ever.
	Dead      int64 `json:"dead"`
	Effects   int64 `json:"effects"`
	Incidents int64 `json:"incidents"`
	// Messages counts what was handled since the start of the process.
	Messages int64 `json:"messages"`
}

// GetSchema asks an actor for the JSON Schema (draft 2020-12) of what stands on
// one of its subjects; CodeNotFound. Without a subject it asks for all subjects.
type GetSchema struct {
	Subject string `json:"subject,omitempty"`
	// Reply asks for the schema of a query's answer.
	Reply bool `json:"reply,omitempty"`
}
