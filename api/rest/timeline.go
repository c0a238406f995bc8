package rest

import (
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
	User  string    `json:"user"`
	// Why says why the order is stuck, or what it waits for, the most likely
	// cause first; empty when nothing is open.
	Why []Cause `json:"why"`
	// Steps are in the order in which they began.
	Steps    []TimelineStep     `json:"steps"`
	Refunds  []api.Refund       `json:"refunds"`
	Attempts []api.Attempt      `json:"attempts"`
	Events   []api.JournalEntry `json:"events"`
	// Messages are in the order of their time in the streams.
	Messages []TimelineMessage `json:"messages"`
	Effects  []TimelineEffect  `json:"effects"`
	Letters  []TimelineLetter  `json:"letters"`
	// Commands show the same with the nats command line.
	Commands []string `json:"commands"`
	// Notes say what is not known, and why.
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
	// Handled is true once the actor has committed it.
	Handled bool `json:"handled"`
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

// gathered is what the actors answered about an order.
type gathered struct {
	order    api.Order
	steps    api.StepList
	refunds  api.RefundList
	payment  api.Payment
	events   api.Journal
	statuses map[string]*api.ActorStatus
	letters  map[string][]api.Letter
	effects  map[string][]api.EffectView

	mu    sync.Mutex
	notes []string
}

func (g *gathered) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

// getTransaction is row M7.
func (s *Server) getTransaction(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*answer[Timeline], error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	g := &gathered{statuses: map[string]*api.ActorStatus{}, letters: map[string][]api.Letter{},
		effects: map[string][]api.EffectView{}}
	if err := s.Edge.Ask(ctx, &api.GetOrder{ID: in.ID}, &g.order); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, actorLimit)
	defer cancel()
	s.gather(limited, g, in.ID)
	s.gatherNotices(limited, g)
	found, notes := history.Live(limited, s.Edge, g.names(), g.clues())
	g.notes = append(g.notes, notes...)
	t := g.timeline()
	t.Messages = s.messages(limited, g, found)
	t.Commands = commands(in.ID, t.Messages)
	t.Why = g.why(api.TimeOf(time.Now()))
	return &answer[Timeline]{t}, nil
}

// gather asks all actors side by side. What can't be asked is a note.
func (s *Server) gather(ctx context.Context, g *gathered, order string) {
	var wg sync.WaitGroup
	ask := func(what string, q api.Query, into any) {
		wg.Go(func() {
			if err := s.Edge.Ask(ctx, q, into); err != nil && !is(err, api.CodeNotFound) {
				g.note("%s can't be asked for: %v", what, err)
			}
		})
	}
	page := api.Page{Limit: api.MaxPage}
	ask("steps", &api.GetSteps{Order: order}, &g.steps)
	ask("refunds", &api.ListRefunds{Page: page, Order: order}, &g.refunds)
	ask("the payment", &api.GetPayment{Order: order}, &g.payment)
	ask("the journal", &api.ListJournal{Page: page, Order: order}, &g.events)
	for _, actor := range bus.ActorNames() {
		wg.Go(func() { s.gatherActor(ctx, g, actor, order) })
	}
	wg.Wait()
	if g.events.Next != "" || g.refunds.Next != "" {
		g.note("only the first %d events and the last %d refunds are shown", api.MaxPage,
			api.MaxPage)
	}
}

// gatherNotices adds the dead letters of what a gateway said: it names attempts and
// refunds, and not the order.
func (s *Server) gatherNotices(ctx context.Context, g *gathered) {
	const actor = "payment"
	if g.statuses[actor].Dead == 0 {
		return
	}
	names := g.names()[1:]
	for _, name := range names[:min(len(names), maxNames)] {
		var more api.LetterList
		if err := s.Edge.AskActor(ctx, api.Route{Actor: actor, Verb: api.EndpointDead},
			&api.ListLetters{State: "open", Contains: name}, &more); err != nil {
			g.note("dead letters about %s are not known: %v", name, err)
			return
		}
		for _, l := range more.Letters {
			if !slices.ContainsFunc(g.letters[actor],
				func(k api.Letter) bool { return k.N == l.N }) {
				g.letters[actor] = append(g.letters[actor], l)
			}
		}
	}
}

// gatherActor asks one actor how it is, and for its effects and dead letters.
func (s *Server) gatherActor(ctx context.Context, g *gathered, actor, order string) {
	status := &api.ActorStatus{}
	var letters api.LetterList
	var effects api.EffectList
	to := func(verb string) api.Route { return api.Route{Actor: actor, Verb: verb} }
	err := s.Edge.AskActor(ctx, to(api.EndpointStatus), nil, status)
	if err != nil {
		status = &api.ActorStatus{Actor: actor, Fault: noAnswer, Lag: -1}
		g.note("%s does not answer: its dead letters and effects are not known", actor)
	} else {
		err = s.Edge.AskActor(ctx, to(api.EndpointDead),
			&api.ListLetters{Contains: order}, &letters)
		if err == nil {
			err = s.Edge.AskActor(ctx, to(api.EndpointEffects), &api.ListEffects{Order: order},
				&effects)
		}
		if err != nil {
			g.note("dead letters and effects of %s are not known: %v", actor, err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.statuses[actor], g.letters[actor], g.effects[actor] = status, letters.Letters, effects.Effects
}

// names are the ids that messages about the order have in them.
func (g *gathered) names() []string {
	all := []string{g.order.ID}
	for _, a := range g.payment.Attempts {
		all = append(all, a.ID)
	}
	for i := range g.refunds.Refunds {
		all = append(all, g.refunds.Refunds[i].ID)
	}
	return all
}

// clues are the times at which the actors handled messages about the order: that
// of a message in its stream is what its handler was told to be now.
func (g *gathered) clues() (all []history.Clue) {
	at := func(actor string, times ...api.Time) {
		for _, t := range times {
			all = append(all, history.Clue{Actor: actor, At: t})
		}
	}
	at("order", g.order.Created, g.order.Decided, g.order.ClosedAt)
	for i := range g.steps.Steps {
		st := &g.steps.Steps[i]
		at("order", st.AskedAt, st.UndoAt, st.AnsweredAt)
		all = append(all, asking(st)...)
	}
	for i := range g.refunds.Refunds {
		r := &g.refunds.Refunds[i]
		at("order", r.Asked, r.Decided, r.Ended)
	}
	for _, a := range g.payment.Attempts {
		at("payment", a.OpenedAt)
		all = append(all, history.Clue{Actor: "payment", At: a.PaidAt, Verb: "trade"})
	}
	for i := range g.events.Entries {
		at("journal", g.events.Entries[i].At)
	}
	for _, actor := range bus.ActorNames() {
		for i := range g.letters[actor] {
			at(actor, g.letters[actor][i].At)
		}
		for _, f := range g.effects[actor] {
			if f.State == "closed" || f.FailedAt > 0 {
				all = append(all, history.Clue{Actor: actor, At: f.At, Verb: api.VerbOutcome})
			}
		}
	}
	return all
}

// asking are the clues to a step's message to its participant, and to that of its
// undo.
func asking(st *api.StepView) []history.Clue {
	actor, verb, _ := strings.Cut(st.Name, ".")
	all := []history.Clue{{Actor: actor, At: st.AskedAt, Verb: verb}}
	if st.UndoAt > 0 {
		all = append(all, history.Clue{Actor: actor, At: st.UndoAt, Verb: st.Verb})
	}
	return all
}

// timeline puts together what the actors said.
func (g *gathered) timeline() Timeline {
	t := Timeline{User: g.order.User, Order: masked(g.order), Steps: []TimelineStep{},
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
	all = []TimelineMessage{}
	asked := 0
	for _, m := range found {
		t := TimelineMessage{Actor: m.Actor, From: m.From, Stream: m.Stream, Seq: m.Seq,
			Subject: m.Subject, ID: api.MaskText(m.ID), Cause: api.MaskText(m.Cause), At: m.At,
			Body: shownBody(m.Body), Handled: m.At <= g.statuses[m.Actor].Now}
		for _, l := range g.letters[m.Actor] {
			if l.ID == m.ID {
				t.Dead = fmt.Sprintf("%d, %s: %s", l.N, l.State, api.MaskText(firstLine(l.Error)))
			}
		}
		if m.From == "edge" && asked < maxOutcomes {
			asked++
			t.Outcome = s.outcome(ctx, m)
		}
		all = append(all, t)
	}
	return all
}

// outcome is what the sender of a message from an edge was answered; empty when
// it is not remembered.
func (s *Server) outcome(ctx context.Context, m *history.Message) string {
	var r api.Result
	err := s.Edge.AskActor(ctx, api.Route{Actor: m.Actor, Verb: api.EndpointResult},
		&api.GetResult{ID: m.ID}, &r)
	switch {
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
