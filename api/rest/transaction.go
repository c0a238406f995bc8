package rest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ordo/actors/settle"
	"ordo/api"
	"ordo/bus"
)

// Limits of what looks after transactions.
const (
	// maxRetried is the most dead letters of an actor that one retry takes on.
	maxRetried = 50
	// settlePause is the time between the two readings of a settling.
	settlePause = 300 * time.Millisecond
)

func (s *Server) transactionRoutes() {
	route(s, s.op("list-transactions", "GET /admin/v1/transactions", support,
		"Orders by state, user and SKU, and those that are stuck, newest first"),
		s.listTransactions)
	route(s, s.op("get-transaction", "GET /admin/v1/transactions/{id}", support,
		"An order's whole life, and why it is stuck; personal data is masked"), s.getTransaction)
	route(s, s.op("retry-transaction", "POST /admin/v1/transactions/{id}/retry", support,
		"Ask again for the steps of an order that were not answered, and its dead letters"),
		s.retryTransaction)
	route(s, s.op("settle-transaction", "POST /admin/v1/transactions/{id}/settle", support,
		"Bring an order and its participants together, where they say different things"),
		s.settleTransaction)
	route(s, s.op("get-overview", "GET /admin/v1/overview", support,
		"How many orders are in which state, and how actors, streams and audit are"), s.getOverview)
}

type transactionsInput struct {
	PageQuery
	State string `query:"state" enum:"pending,placed,paid,refused,closing,cancelled"`
	User  string `query:"user" maxLength:"64"`
	SKU   string `query:"sku" maxLength:"64"`
	Stuck bool   `query:"stuck" doc:"Those with a step that is not answered, or overdue."`
	Older int64  `query:"older" minimum:"0" maximum:"315360000" doc:"Seconds since it began."`
}

// listTransactions is row M7.
func (s *Server) listTransactions(ctx context.Context, in *transactionsInput) (
	*answer[passed[api.TransactionList]], error) {
	now := api.TimeOf(time.Now())
	q := &api.ListTransactions{Page: in.page(), State: in.State, User: in.User, SKU: in.SKU,
		Stuck: in.Stuck, Now: now}
	if in.Older > 0 {
		q.Before = now.Add(-time.Duration(in.Older) * time.Second)
	}
	return pass[api.TransactionList](ctx, s, q)
}

type interveneInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Why; kept in the journal."`
	}
}

// Retried is what a retry had done again.
type Retried struct {
	// Steps are those asked for again.
	Steps []string `json:"steps"`
	// Letters counts the dead letters that were handled now, Open those that
	// failed again.
	Letters int `json:"letters"`
	Open    int `json:"open"`
	// Missing are the actors whose dead letters could not be asked for.
	Missing api.MissingList `json:"missing"`
}

// retryTransaction has the order's dead letters handled again, and then its steps.
func (s *Server) retryTransaction(ctx context.Context, in *interveneInput) (
	*answer[Retried], error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	by := callerOf(ctx).User
	out := Retried{Steps: []string{}, Missing: api.MissingList{}}
	err := s.retryLetters(ctx, in, &out)
	if err == nil {
		var asked api.Retried
		err = s.do(ctx, api.NewID("retry"), &api.RetryOrder{Order: in.ID, By: by,
			Reason: in.Body.Reason}, &asked)
		out.Steps = append(out.Steps, asked.Steps...)
	}
	if is(err, api.CodeNothingToRetry) && out.Letters+out.Open > 0 {
		err = nil
	}
	s.log.Info("order retried", "order", in.ID, "by", by, "reason", api.MaskText(in.Body.Reason),
		"steps", out.Steps, "letters", out.Letters, "err", err)
	if err != nil {
		return nil, err
	}
	return &answer[Retried]{out}, nil
}

// ofPeople are the verbs by which people asked for something. Whether they still
// want it, a retry of the order can't know: each is retried by itself.
var ofPeople = map[string]bool{"submit": true, "cancel": true, "open": true,
	"ask-refund": true, "decide-refund": true}

// retryLetters has all open dead letters about an order handled again, but for
// what people have asked for.
func (s *Server) retryLetters(ctx context.Context, in *interveneInput, out *Retried) error {
	for _, actor := range bus.ActorNames() {
		letters, err := s.openLetters(ctx, actor, in.ID)
		if is(err, api.CodeUnavailable) {
			out.Missing = append(out.Missing, away("letters", actor))
			continue
		}
		if err != nil {
			return err
		}
		for _, l := range letters {
			if ofPeople[l.Subject[strings.LastIndexByte(l.Subject, '.')+1:]] {
				continue
			}
			settled, err := s.settleDead(ctx, letterOf(actor, l.N, in.Body.Reason))
			if err != nil {
				return err
			}
			if settled.Body.State == "open" {
				out.Open++
			} else {
				out.Letters++
			}
		}
	}
	return nil
}

// openLetters are an actor's open dead letters about an order as they came, those
// of its attempts to pay included.
func (s *Server) openLetters(ctx context.Context, actor, order string) ([]api.Letter, error) {
	names := []string{order}
	if actor == "payment" {
		var p api.Payment
		if err := s.Edge.Ask(ctx, &api.GetPayment{Order: order}, &p); err == nil {
			for i := range p.Attempts[:min(len(p.Attempts), maxNames)] {
				names = append(names, p.Attempts[i].ID)
			}
		}
	}
	all := map[int64]api.Letter{}
	for _, name := range names {
		var list api.LetterList
		err := s.Edge.AskActor(ctx, api.Route{Actor: actor, Verb: api.EndpointDead},
			&api.ListLetters{Page: api.Page{Limit: maxRetried}, State: "open", Contains: name},
			&list)
		if err != nil {
			return nil, err
		}
		for _, l := range list.Letters {
			all[l.N] = l
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b api.Letter) int {
		return cmp.Compare(a.N, b.N)
	}), nil
}

func letterOf(actor string, n int64, reason string) *settleInput {
	in := &settleInput{LetterPath: LetterPath{actor, n}, What: "retry"}
	in.Body.Reason = reason
	return in
}

// Settled is what a settling found.
type Settled struct {
	// Found are the steps that differed, as the participants have them.
	Found []api.FoundStep `json:"found"`
	// Differences say it for people.
	Differences []string `json:"differences"`
}

// settleTransaction compares what order and participants say, twice, because
// messages may be under way, and has the order actor settle what differs.
func (s *Server) settleTransaction(ctx context.Context, in *interveneInput) (
	*answer[Settled], error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	state, all, err := s.lasting(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if why := settle.Cannot(state, all); why != "" {
		return nil, api.Refuse(api.CodeCannotSettle, "%s", why)
	}
	out := Settled{Found: []api.FoundStep{}, Differences: []string{}}
	m := &api.SettleOrder{Order: in.ID, By: callerOf(ctx).User,
		Reason: strings.TrimSpace(in.Body.Reason)}
	for i := range all {
		m.Found = append(m.Found, all[i].FoundStep)
		out.Differences = append(out.Differences, all[i].String())
	}
	if len(all) > 0 {
		err = s.do(ctx, api.NewID("settle"), m, nil)
		out.Found = m.Found
	}
	s.log.Info("order settled", "order", in.ID, "by", m.By, "reason", api.MaskText(m.Reason),
		"differences", out.Differences, "err", err)
	if err != nil {
		return nil, err
	}
	return &answer[Settled]{out}, nil
}

// lasting are the differences that are there twice.
func (s *Server) lasting(ctx context.Context, order string) (string, []settle.Difference, error) {
	state, all, err := s.differences(ctx, order)
	if err != nil || len(all) == 0 {
		return state, all, err
	}
	select {
	case <-ctx.Done():
		return "", nil, ctx.Err()
	case <-time.After(settlePause):
	}
	state, again, err := s.differences(ctx, order)
	return state, slices.DeleteFunc(all, func(d settle.Difference) bool {
		return !slices.Contains(again, d)
	}), err
}

// differences asks for an order's state and steps, and then its participants.
func (s *Server) differences(ctx context.Context, order string) (state string,
	all []settle.Difference, err error) {
	var own api.StepList
	o, err := s.lookUp(ctx, order, "")
	switch {
	case is(err, api.CodeNotFound):
	case err != nil:
		return "", nil, named("order", err)
	default:
		state = o.State
		if err := s.Edge.Ask(ctx, &api.GetSteps{Order: order}, &own); err != nil {
			return "", nil, named("order", err)
		}
	}
	var found []api.FoundStep
	for _, actor := range settle.Participants() {
		var list api.FoundList
		if err := s.Edge.AskActor(ctx, api.Route{Actor: actor, Verb: api.EndpointKnown},
			&api.GetSteps{Order: order}, &list); err != nil {
			return "", nil, named(actor, err)
		}
		found = append(found, list.Found...)
	}
	if state == "" && len(found) == 0 {
		return "", nil, noOrder()
	}
	return state, settle.Compare(own.Steps, found), nil
}

// Overview is how the shop is.
type Overview struct {
	At api.Time `json:"at"`
	// Orders are counted by state now, and by the minute in which they came into
	// it.
	Orders api.Tally `json:"orders"`
	// Actors are all. What is not known of those that do not answer is -1.
	Actors []api.ActorStatus `json:"actors"`
	Timers Timers            `json:"timers"`
	// Streams are those of the table, with what waits in them.
	Streams []bus.StreamState `json:"streams"`
	// Audit is what /readyz shows of the standing audit; null without one.
	Audit any `json:"audit"`
	// Dead counts the open dead letters of the actors that answer.
	Dead int64 `json:"dead"`
	// Missing are the parts that are not known, or not all; Notes say it for people.
	Missing api.MissingList `json:"missing"`
	Notes   []string        `json:"notes"`
}

// Timers counts the timers that wait.
type Timers struct {
	Pending uint64 `json:"pending"`
}

type overviewInput struct {
	Minutes int `query:"minutes" minimum:"1" maximum:"1440" default:"180" doc:"Of the orders' plot."`
}

func (s *Server) getOverview(ctx context.Context, in *overviewInput) (*answer[Overview], error) {
	ctx, cancel := context.WithTimeout(ctx, actorLimit)
	defer cancel()
	out := Overview{At: api.TimeOf(time.Now()), Streams: []bus.StreamState{}, Orders: api.Tally{
		States: map[string]int64{}, Minutes: []api.TallyMinute{}}, Missing: api.MissingList{},
		Notes: []string{}}
	var wg sync.WaitGroup
	wg.Go(func() { out.Actors = s.actorStatuses(ctx) })
	var counts, streams error
	wg.Go(func() {
		counts = s.Edge.Ask(ctx, &api.GetTally{Minutes: in.Minutes, Until: out.At}, &out.Orders)
	})
	wg.Go(func() {
		var all []bus.StreamState
		all, streams = s.Edge.Streams(ctx)
		out.Streams = append(out.Streams, all...)
	})
	wg.Wait()
	if s.Audit != nil {
		out.Audit = s.Audit()
	}
	out.sum(counts, streams)
	return &answer[Overview]{out}, nil
}

// sum adds up what was answered, and says what was not, because of the faults of
// counting orders and of reading streams.
func (o *Overview) sum(counts, streams error) {
	if counts != nil {
		o.Missing = append(o.Missing, lacking("orders", "order", counts))
	}
	for i := range o.Actors {
		a := &o.Actors[i]
		o.Dead += max(a.Dead, 0)
		if a.Fault == noAnswer {
			o.Missing = append(o.Missing, away("dead", a.Actor))
		}
	}
	timers := slices.IndexFunc(o.Streams, func(st bus.StreamState) bool {
		return st.Name == bus.StreamTimers
	})
	if timers >= 0 {
		o.Timers.Pending = o.Streams[timers].Lag
	} else {
		o.Missing = append(o.Missing, api.Missing{Part: "timers", Why: "its stream can't be read"})
	}
	if streams != nil {
		o.Missing = append(o.Missing, api.Missing{Part: "streams", Why: fmt.Sprintf(
			"%d streams can't be read: %s", len(bus.Streams())-len(o.Streams),
			firstLine(streams.Error()))})
	}
	o.Notes = append(o.Notes, o.Missing.Lines()...)
}

// actorStatuses asks all actors side by side how they are.
func (s *Server) actorStatuses(ctx context.Context) []api.ActorStatus {
	names := bus.ActorNames()
	all := make([]api.ActorStatus, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			all[i] = s.statusOf(ctx, name)
		})
	}
	wg.Wait()
	return all
}

// statusOf asks an actor how it is. What is not known of one that does not answer
// is -1.
func (s *Server) statusOf(ctx context.Context, actor string) (a api.ActorStatus) {
	if err := s.Edge.AskActor(ctx, api.Route{Actor: actor, Verb: api.EndpointStatus}, nil,
		&a); err != nil {
		a = api.ActorStatus{Actor: actor, Fault: noAnswer, Lag: -1, Unconfirmed: -1, Dead: -1,
			Effects: -1, Incidents: -1, Messages: -1}
	}
	return a
}

// noAnswer is the fault of an actor that is not there, or does not answer in
// time.
const noAnswer = "does not answer"
