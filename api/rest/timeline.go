package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ordo/actors/history"
	"ordo/api"
	"ordo/bus"
)

// Limits of a timeline.
const (
	// maxShownBody is the longest body of a message that is shown, in bytes.
	maxShownBody = 16 << 10
	// maxOutcomes is the most messages of edges whose outcomes are asked for.
	maxOutcomes = 50
	// maxCommands is the most messages that have a command line.
	maxCommands = 20
	// maxNames is the most attempts and refunds whose dead letters are looked for.
	maxNames = 20
)

// Timeline is all that is known of an order, with personal data masked. Row M7.
type Timeline struct {
	Order api.Order `json:"order"`
	// Told is when the journal was told that the order is so, while the order actor
	// does not answer; 0 for how it is now.
	Told api.Time `json:"told,omitzero"`
	User string   `json:"user"`
	// Why says why the order is stuck, or what it waits for, the most likely
	// cause first; empty when nothing is open.
	Why []Cause `json:"why"`
	// Steps are in the order in which they began.
	Steps []TimelineStep `json:"steps"`
	// Found are the steps as participants have them, while the order actor does not
	// answer.
	Found    []api.FoundStep    `json:"found"`
	Refunds  []api.Refund       `json:"refunds"`
	Attempts []api.Attempt      `json:"attempts"`
	Events   []api.JournalEntry `json:"events"`
	// Messages are in the order of their time in the streams.
	Messages []TimelineMessage `json:"messages"`
	Effects  []TimelineEffect  `json:"effects"`
	Letters  []TimelineLetter  `json:"letters"`
	// Commands show the same with the nats command line.
	Commands []string `json:"commands"`
	// Missing are the parts that are not known, or not all, because who has them
	// does not answer.
	Missing api.MissingList `json:"missing"`
	// Notes say what else is not known, and why.
	Notes []string `json:"notes"`
}

// TimelineStep is a step with what it asks of whom.
type TimelineStep struct {
	api.StepView
	Actor   string `json:"actor"`
	Subject string `json:"subject"`
	// NextTry is when the gateway is called again, where the step waits for it.
	NextTry api.Time `json:"next_try,omitzero"`
}

// TimelineMessage is a message about the order.
type TimelineMessage struct {
	// Actor got it, From sent it: an actor, or edge.
	Actor   string `json:"actor"`
	From    string `json:"from"`
	Stream  string `json:"stream"`
	Seq     uint64 `json:"seq"`
	Subject string `json:"subject"`
	ID      string `json:"id"`
	// Cause is the id of the message that it was sent because of.
	Cause string          `json:"cause,omitempty"`
	At    api.Time        `json:"at"`
	Body  json.RawMessage `json:"body"`
	// Handled is true once the actor has committed it; where Unknown says why, it
	// is not known.
	Handled bool   `json:"handled"`
	Unknown string `json:"unknown,omitempty"`
	// Outcome is what an edge was answered, Dead the dead letter it became.
	Outcome string `json:"outcome,omitempty"`
	Dead    string `json:"dead,omitempty"`
}

// TimelineEffect is work for the world outside.
type TimelineEffect struct {
	Actor string `json:"actor"`
	api.EffectView
}

// TimelineLetter is a dead letter about the order.
type TimelineLetter struct {
	Actor string `json:"actor"`
	api.Letter
}

// getTransaction is row M7.
func (s *Server) getTransaction(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*answer[Timeline], error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	g := &gathered{id: in.ID}
	within(ctx, actorLimit, func(ctx context.Context) { s.gather(ctx, g) })
	if g.order.ID == "" {
		if g.missing.Unknown("order") == "" {
			return nil, noOrder()
		}
		var err error
		within(ctx, moreLimit, func(ctx context.Context) { err = s.gatherElsewhere(ctx, g) })
		if err != nil {
			return nil, err
		}
	}
	within(ctx, moreLimit, func(ctx context.Context) { s.gatherNotices(ctx, g) })
	var found []*history.Message
	var notes []string
	within(ctx, moreLimit, func(ctx context.Context) {
		found, notes = history.Live(ctx, s.Edge, &history.Sought{Names: g.names(), Clues: g.clues(),
			Asked: s.askedAt})
	})
	g.notes = append(g.notes, notes...)
	var messages []TimelineMessage
	within(ctx, moreLimit, func(ctx context.Context) { messages = s.messages(ctx, g, found) })
	t := g.timeline()
	t.Messages, t.Commands = messages, commands(in.ID, messages)
	t.Why = g.why(api.TimeOf(time.Now()))
	return &answer[Timeline]{t}, nil
}

// timeline puts together what the actors said.
func (g *gathered) timeline() Timeline {
	slices.SortFunc(g.missing, func(a, b api.Missing) int {
		return cmp.Or(strings.Compare(a.Actor, b.Actor), strings.Compare(a.Part, b.Part))
	})
	t := Timeline{User: g.order.User, Order: masked(g.order), Told: g.told,
		Steps: []TimelineStep{}, Found: append([]api.FoundStep{}, g.found...),
		Missing:  append(api.MissingList{}, slices.Compact(g.missing)...),
		Refunds:  masked(append([]api.Refund{}, g.refunds.Refunds...)),
		Attempts: masked(append([]api.Attempt{}, g.payment.Attempts...)),
		Events:   shownEvents(g.events.Entries),
		Effects:  []TimelineEffect{}, Letters: []TimelineLetter{},
		Notes: append([]string{}, g.notes...)}
	for _, actor := range bus.ActorNames() {
		for _, f := range g.effects[actor] {
			f.Error = api.MaskText(f.Error)
			t.Effects = append(t.Effects, TimelineEffect{actor, f})
		}
		for _, l := range g.letters[actor] {
			l.Body, l.Error = shownBody(l.Body), api.MaskText(l.Error)
			t.Letters = append(t.Letters, TimelineLetter{actor, l})
		}
	}
	for _, st := range g.steps.Steps {
		actor, _, _ := strings.Cut(st.Name, ".")
		step := TimelineStep{StepView: st, Actor: actor, Subject: bus.MailboxSubject(actor,
			st.Verb)}
		if f := g.openEffect(actor); f != nil && st.Open() {
			step.NextTry = f.NextTry
		}
		t.Steps = append(t.Steps, step)
	}
	return t
}

// openEffect is the order's open effect of an actor that is tried next; nil for
// none.
func (g *gathered) openEffect(actor string) (next *api.EffectView) {
	for i := range g.effects[actor] {
		if f := &g.effects[actor][i]; f.State == "open" && (next == nil ||
			f.NextTry < next.NextTry) {
			next = f
		}
	}
	return next
}

// messages tells what became of messages.
func (s *Server) messages(ctx context.Context, g *gathered, found []*history.Message) (
	all []TimelineMessage) {
	all = make([]TimelineMessage, len(found))
	asked := 0
	var wg sync.WaitGroup
	for i, m := range found {
		t := &all[i]
		*t = TimelineMessage{Actor: m.Actor, From: m.From, Stream: m.Stream, Seq: m.Seq,
			Subject: m.Subject, ID: api.MaskText(m.ID), Cause: api.MaskText(m.Cause), At: m.At,
			Body: shownBody(m.Body), Handled: m.At <= g.statuses[m.Actor].Now}
		for _, l := range g.letters[m.Actor] {
			if l.ID == m.ID {
				t.Dead = fmt.Sprintf("%d, %s: %s", l.N, l.State, api.MaskText(firstLine(l.Error)))
			}
		}
		if g.statuses[m.Actor].Fault == noAnswer {
			lack := away("messages", m.Actor)
			t.Unknown, g.missing = lack.Why, append(g.missing, lack)
			continue
		}
		if m.From == "edge" && asked < maxOutcomes {
			asked++
			wg.Go(func() { t.Outcome = s.outcome(ctx, m) })
		}
	}
	wg.Wait()
	return all
}

// outcome is what the sender of a message from an edge was answered; empty when
// it is not remembered.
func (s *Server) outcome(ctx context.Context, m *history.Message) string {
	var r api.Result
	err := s.Edge.AskActor(ctx, api.Route{Actor: m.Actor, Verb: api.EndpointResult},
		&api.GetResult{ID: m.ID}, &r)
	switch {
	case is(err, api.CodeUnavailable):
		return "unknown: " + m.Actor + " " + noAnswer
	case err != nil:
		return ""
	case r.Refusal != nil:
		return api.MaskText(r.Refusal.Error())
	}
	return "done"
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// shownEvents are events as support sees them.
func shownEvents(all []api.JournalEntry) []api.JournalEntry {
	out := append([]api.JournalEntry{}, all...)
	for i := range out {
		if len(out[i].Data) > maxShownBody {
			out[i].Data = shownBody(out[i].Data)
		}
	}
	return masked(out)
}

// shownBody is a body as support sees it.
func shownBody(b json.RawMessage) json.RawMessage {
	if len(b) > maxShownBody {
		return api.Raw(fmt.Sprintf("%d bytes", len(b)))
	}
	return api.Mask(b)
}

// masked is v without personal data.
func masked[T any](v T) T {
	var out T
	if err := json.Unmarshal(api.Mask(api.Raw(v)), &out); err != nil {
		return *new(T) // rather nothing than too much
	}
	return out
}

// commands are the command lines of the nats tool that show the same.
func commands(order string, messages []TimelineMessage) []string {
	var all []string
	for _, q := range []api.Query{&api.GetOrder{ID: order}, &api.GetSteps{Order: order},
		&api.ListJournal{Order: order}} {
		to := q.Endpoint()
		all = append(all, fmt.Sprintf("nats request %s '%s'", bus.QuerySubject(to.Actor, to.Verb),
			api.Raw(q)))
	}
	for i := range messages[:min(len(messages), maxCommands)] {
		all = append(all, fmt.Sprintf("nats stream get %s %d", messages[i].Stream, messages[i].Seq))
	}
	return all
}
