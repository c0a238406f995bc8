package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"ordo/actors/history"
	"ordo/actors/settle"
	"ordo/api"
	"ordo/bus"
)

// How long each part of a timeline may take, so that what is slow keeps nobody
// from what comes after it.
const (
	// actorLimit is how long all actors may take to answer, side by side.
	actorLimit = 2 * time.Second
	// moreLimit is how long what is asked because of their answers may take, each
	// time.
	moreLimit = time.Second
)

// gathered is what the actors answered about an order.
type gathered struct {
	id    string
	order api.Order
	// told is when the journal was told that the order is so, where the order
	// actor does not answer; found is what participants have done for it then.
	told     api.Time
	found    []api.FoundStep
	steps    api.StepList
	refunds  api.RefundList
	payment  api.Payment
	events   api.Journal
	statuses map[string]*api.ActorStatus
	letters  map[string][]api.Letter
	effects  map[string][]api.EffectView

	mu      sync.Mutex
	missing api.MissingList
	notes   []string
}

// lacks notes a part that could not be asked for.
func (g *gathered) lacks(part, actor string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.missing = append(g.missing, lacking(part, actor, err))
}

// lacking is a part of an answer that could not be asked for.
func lacking(part, actor string, err error) api.Missing {
	if is(err, api.CodeUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return away(part, actor)
	}
	return api.Missing{Part: part, Actor: actor, Why: actor + ": " + api.MaskText(err.Error())}
}

// away is a part that an actor would have, which does not answer.
func away(part, actor string) api.Missing {
	return api.Missing{Part: part, Actor: actor, Why: actor + " " + noAnswer}
}

// named has an operator told which actor does not answer.
func named(actor string, err error) error {
	if is(err, api.CodeUnavailable) {
		return problemOf(api.Refuse(api.CodeUnavailable, "%s %s", actor, noAnswer))
	}
	return err
}

// within gives a part of the work its own share of time.
func within(ctx context.Context, limit time.Duration, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	do(ctx)
}

// asking asks actors side by side. What can't be asked is missing.
type asking struct {
	sync.WaitGroup
	s   *Server
	ctx context.Context
	g   *gathered
}

// ask asks for a part; that there is none is an answer.
func (a *asking) ask(part string, to api.Route, q, into any) {
	a.Go(func() {
		err := a.s.Edge.AskActor(a.ctx, to, q, into)
		if err != nil && !is(err, api.CodeNotFound) {
			a.g.lacks(part, to.Actor, err)
		}
	})
}

// gather asks all actors side by side.
func (s *Server) gather(ctx context.Context, g *gathered) {
	a := &asking{s: s, ctx: ctx, g: g}
	page := api.Page{Limit: api.MaxPage}
	for _, p := range []struct {
		part string
		q    api.Query
		into any
	}{
		{"order", &api.GetOrder{ID: g.id}, &g.order},
		{"steps", &api.GetSteps{Order: g.id}, &g.steps},
		{"refunds", &api.ListRefunds{Page: page, Order: g.id}, &g.refunds},
		{"attempts", &api.GetPayment{Order: g.id}, &g.payment},
		{"events", &api.ListJournal{Page: page, Order: g.id}, &g.events},
	} {
		a.ask(p.part, p.q.Endpoint(), p.q, p.into)
	}
	names := bus.ActorNames()
	statuses := make([]api.ActorStatus, len(names))
	letters, effects := make([]api.LetterList, len(names)), make([]api.EffectList, len(names))
	for i, actor := range names {
		a.Go(func() { statuses[i] = s.statusOf(ctx, actor) })
		a.ask("letters", api.Route{Actor: actor, Verb: api.EndpointDead},
			&api.ListLetters{Contains: g.id}, &letters[i])
		a.ask("effects", api.Route{Actor: actor, Verb: api.EndpointEffects},
			&api.ListEffects{Order: g.id}, &effects[i])
	}
	a.Wait()
	g.statuses = map[string]*api.ActorStatus{}
	g.letters, g.effects = map[string][]api.Letter{}, map[string][]api.EffectView{}
	for i, actor := range names {
		g.statuses[actor] = &statuses[i]
		g.letters[actor], g.effects[actor] = letters[i].Letters, effects[i].Effects
	}
	if g.events.Next != "" || g.refunds.Next != "" {
		g.notes = append(g.notes, fmt.Sprintf(
			"only the first %d events and the last %d refunds are shown", api.MaxPage, api.MaxPage))
	}
}

// gatherNotices adds the dead letters of what a gateway said: it names attempts and
// refunds, and not the order.
func (s *Server) gatherNotices(ctx context.Context, g *gathered) {
	const actor = "payment"
	if g.statuses[actor].Dead <= 0 {
		return
	}
	names := g.names()[1:]
	names = names[:min(len(names), maxNames)]
	more := make([]api.LetterList, len(names))
	a := &asking{s: s, ctx: ctx, g: g}
	for i, name := range names {
		a.ask("letters", api.Route{Actor: actor, Verb: api.EndpointDead},
			&api.ListLetters{State: "open", Contains: name}, &more[i])
	}
	a.Wait()
	for _, list := range more {
		for _, l := range list.Letters {
			if !slices.ContainsFunc(g.letters[actor],
				func(k api.Letter) bool { return k.N == l.N }) {
				g.letters[actor] = append(g.letters[actor], l)
			}
		}
	}
}

// gatherElsewhere is for when the order actor does not answer: the order is as the
// journal was told of it last, and its steps are what participants have done. It
// fails when nobody knows anything.
func (s *Server) gatherElsewhere(ctx context.Context, g *gathered) error {
	for i := range g.events.Entries {
		e := &g.events.Entries[i]
		switch e.Type {
		case api.EventOrderPlaced, api.EventOrderPaid, api.EventOrderRefused,
			api.EventOrderCancelled:
			var o api.Order
			if json.Unmarshal(e.Data, &o) == nil {
				g.order, g.told = o, e.At
			}
		}
	}
	actors := settle.Participants()
	known := make([]api.FoundList, len(actors))
	a := &asking{s: s, ctx: ctx, g: g}
	for i, actor := range actors {
		a.ask("found", api.Route{Actor: actor, Verb: api.EndpointKnown},
			&api.GetSteps{Order: g.id}, &known[i])
	}
	a.Wait()
	for _, list := range known {
		g.found = append(g.found, list.Found...)
	}
	if g.told == 0 && len(g.found) == 0 && len(g.events.Entries) == 0 {
		return problemOf(api.Refuse(api.CodeUnavailable, "%s, and nobody else knows the order",
			strings.TrimPrefix(g.missing.Unknown("order"), "unknown: ")))
	}
	g.order.ID, g.order.User = g.id, cmp.Or(g.order.User, g.payment.User)
	return nil
}

// names are the ids that messages about the order have in them.
func (g *gathered) names() []string {
	all := []string{g.id}
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
		all = append(all, messagesOf(st)...)
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
	return append(all, g.cluesElsewhere()...)
}

// messagesOf are the clues to a step's message to its participant, and to that of
// its undo.
func messagesOf(st *api.StepView) []history.Clue {
	actor, verb, _ := strings.Cut(st.Name, ".")
	all := []history.Clue{{Actor: actor, At: st.AskedAt, Verb: verb}}
	if st.UndoAt > 0 {
		all = append(all, history.Clue{Actor: actor, At: st.UndoAt, Verb: st.Verb})
	}
	return all
}

// askedAt is when the order actor asked for what a message asks of a participant;
// 0 where it is not known, or was asked for again.
func (s *Server) askedAt(ctx context.Context, m *bus.Message) api.Time {
	var of api.Step
	if json.Unmarshal(m.Data, &of) != nil || of.Order == "" {
		return 0
	}
	var all api.StepList
	if s.Edge.Ask(ctx, &api.GetSteps{Order: of.Order}, &all) != nil {
		return 0
	}
	i := slices.IndexFunc(all.Steps, func(st api.StepView) bool { return st.Step == of })
	if i < 0 || all.Steps[i].Attempts > 1 {
		return 0
	}
	if actor, verb, _ := strings.Cut(of.Name, "."); m.Subject != bus.MailboxSubject(actor, verb) {
		return all.Steps[i].UndoAt
	}
	return all.Steps[i].AskedAt
}

// cluesElsewhere are for when the order actor does not answer. An order's id has
// the time at which its checkout was opened, so it was submitted after it.
func (g *gathered) cluesElsewhere() (all []history.Clue) {
	if g.missing.Unknown("order") == "" {
		return nil
	}
	from := g.order.Created
	if id, err := api.ParseID(api.PrefixOrder, g.id); err == nil && from == 0 {
		from = api.TimeOf(ulid.Time(id.Time()))
		all = append(all, history.Clue{Actor: "order", At: from, Verb: "submit"})
	}
	for _, f := range g.found {
		if actor, verb, _ := strings.Cut(f.Name, "."); f.Occurrence == 0 {
			all = append(all, history.Clue{Actor: actor, At: from, Verb: verb})
		}
	}
	return all
}
