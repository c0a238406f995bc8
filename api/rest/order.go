package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"ordo/api"
	"ordo/bus"
)

// How those who wait for an order ask, in case a wake-up got lost.
const (
	pollEvery = 250 * time.Millisecond
	// streamPoll is how often an event stream asks and sends a heartbeat.
	streamPoll = 15 * time.Second
	// streamLimit is the longest that an event stream stays open.
	streamLimit = time.Hour
	// streamWrite is how long one write to a stream may take.
	streamWrite = 10 * time.Second
)

func (s *Server) orderRoutes() {
	submit := s.op("submit-order", "POST /v1/orders", users,
		"Submit a checkout; the same token again gives the same order")
	submit.DefaultStatus = 201
	submit.Responses["202"] = &huma.Response{Description: "Not decided yet: look at Location, " +
		"or send the same token again.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: s.schema(api.Order{})}}}
	route(s, submit, s.submitOrder)
	route(s, s.op("list-orders", "GET /v1/orders", users, "Orders, newest first"), s.listOrders)
	route(s, s.op("get-order", "GET /v1/orders/{id}", users,
		"An order; may wait until its state differs from the known one"), s.getOrder)
	route(s, s.op("watch-order", "GET /v1/orders/{id}/events", users,
		"A stream of server-sent events, one at every change of state"), s.watchOrder)
	route(s, s.op("cancel-order", "POST /v1/orders/{id}/cancel", users,
		"Cancel an order that is not paid"), s.cancelOrder)
}

type ordersInput struct {
	PageQuery
	State string `query:"state" enum:"pending,placed,paid,refused,closing,cancelled"`
}

func (s *Server) listOrders(ctx context.Context, in *ordersInput) (
	*answer[passed[api.OrderList]], error) {
	return pass[api.OrderList](ctx, s,
		&api.ListOrders{Page: in.page(), User: callerOf(ctx).User, State: in.State})
}

// Waiting is the query parameter of what may wait; embed it in an input.
type Waiting struct {
	// Wait is a duration or a number of seconds, at most MaxWait.
	Wait string `query:"wait" maxLength:"16" doc:"Such as 5s or 5; at most 10 s."`
}

// parse reads the wait, which is unless when nothing was said.
func (w *Waiting) parse(unless time.Duration) (time.Duration, error) {
	if w.Wait == "" {
		return unless, nil
	}
	d, err := time.ParseDuration(w.Wait)
	if n, nerr := strconv.ParseUint(w.Wait, 10, 16); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, api.Refuse(api.CodeInvalid, "%q is not a duration", w.Wait).At("wait")
	}
	return min(d, MaxWait), nil
}

// seen is what the edge itself reads of an order.
type seen struct {
	State  string     `json:"state"`
	Reason *api.Error `json:"reason"`
	// raw is the whole order.
	raw json.RawMessage
}

func (o *seen) decided() bool { return o.State != "" && o.State != api.OrderPending }

// over tells whether an order's state never changes again by itself.
func (o *seen) over() bool {
	return o.State == api.OrderPaid || o.State == api.OrderRefused || o.State == api.OrderCancelled
}

func readOrder(raw []byte) (*seen, error) {
	o := seen{raw: raw}
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, fmt.Errorf("rest: order: %w", err)
	}
	return &o, nil
}

// lookUp asks for an order of a user; of anybody when user is empty.
func (s *Server) lookUp(ctx context.Context, order, user string) (*seen, error) {
	var raw json.RawMessage
	if err := s.Edge.Ask(ctx, &api.GetOrder{ID: order, User: user}, &raw); err != nil {
		return nil, err
	}
	return readOrder(raw)
}

// await waits until an order is as wanted, by its wake-ups and by asking, and
// returns it as it was last seen; nil when nobody knows it. Only wake-ups of
// an order that is the user's may be watched.
func (s *Server) await(ctx context.Context, w *bus.Watch, last *seen, q waitFor) (*seen, error) {
	// closingWait is how long the end of the server waits for the decision of an
	// order that is being submitted; that takes milliseconds when it can be taken.
	const closingWait = time.Second
	end := time.NewTimer(q.wait)
	defer end.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	closing := s.closing
	for last == nil || !q.until(last) {
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-end.C:
			return last, nil
		case <-closing:
			switch {
			case q.mine:
				closing = nil
				end.Reset(min(q.wait, closingWait))
			case last == nil:
				return nil, api.Refuse(api.CodeUnavailable, "the server is about to end")
			default:
				return last, nil
			}
		case raw := <-w.C:
			// Who sees nothing yet does not know whose order this is.
			if last == nil && !q.mine {
				continue
			}
			o, err := readOrder(raw)
			if err != nil {
				return last, err
			}
			last = o
		case <-poll.C:
			o, err := s.lookUp(ctx, q.order, q.user)
			if api.AsError(err) == nil && err != nil {
				return last, err
			}
			if o != nil {
				last = o
			}
		}
	}
	return last, nil
}

// waitFor is what somebody waits for.
type waitFor struct {
	order, user string
	wait        time.Duration
	// mine is true when the order is known to be the user's.
	mine  bool
	until func(*seen) bool
}

type orderInput struct {
	ID string `path:"id" maxLength:"64"`
	Waiting
	Known string `query:"known" maxLength:"16" doc:"The state known; the answer waits for another."`
}

// getOrder is row S9. With a wait, an order that is not known yet is waited
// for as well, because a submit may still be on its way.
func (s *Server) getOrder(ctx context.Context, in *orderInput) (
	*answer[passed[api.Order]], error) {
	wait, err := in.parse(0)
	if err != nil {
		return nil, err
	}
	// Checked before it becomes the name of a subject.
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	q := waitFor{order: in.ID, user: callerOf(ctx).User, wait: wait,
		until: func(o *seen) bool { return o.State != in.Known }}
	w := s.Edge.Watch(in.ID)
	defer w.Stop()
	o, err := s.lookUp(ctx, q.order, q.user)
	refusal := api.AsError(err)
	if err != nil && (wait == 0 || refusal == nil || refusal.Code != api.CodeNotFound) {
		return nil, err
	}
	if wait > 0 {
		if o, err = s.await(ctx, w, o, q); err != nil {
			return nil, err
		}
	}
	if o == nil {
		return nil, refusal
	}
	return &answer[passed[api.Order]]{passed[api.Order]{o.raw}}, nil
}

func checkOrderID(id string) error {
	if _, err := api.ParseID(api.PrefixOrder, id); err != nil {
		return noOrder()
	}
	return nil
}

func noOrder() error { return api.Refuse(api.CodeNotFound, "there is no such order") }

type cancelInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

// cancelOrder is row E4 for the owner.
func (s *Server) cancelOrder(ctx context.Context, in *cancelInput) (
	*answer[passed[api.Order]], error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	who := callerOf(ctx).User
	m := &api.CancelOrder{Order: in.ID, User: who, By: who}
	if in.Body != nil {
		m.Reason = in.Body.Reason
	}
	return s.cancel(ctx, m)
}

// cancel waits until the payment is closed: only then is the order cancelled,
// or paid after all, which refuses the cancel. Row E2.
func (s *Server) cancel(ctx context.Context, m *api.CancelOrder) (
	*answer[passed[api.Order]], error) {
	w := s.Edge.Watch(m.Order)
	defer w.Stop()
	var raw json.RawMessage
	if err := s.do(ctx, api.NewID("cancel"), m, &raw); err != nil {
		return nil, err
	}
	o, err := readOrder(raw)
	if err != nil {
		return nil, err
	}
	o, err = s.await(ctx, w, o, waitFor{order: m.Order, user: m.User, mine: true, wait: MaxWait,
		until: func(o *seen) bool { return o.State != api.OrderClosing }})
	if err != nil {
		return nil, err
	}
	if o.State == api.OrderPaid {
		return nil, api.Refuse(api.CodeNotCancellable, "the order was paid meanwhile")
	}
	return &answer[passed[api.Order]]{passed[api.Order]{o.raw}}, nil
}

// watchOrder opens an event stream: the order as it is, then at every change
// of state, until that can't change any more.
func (s *Server) watchOrder(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"64"`
}) (*huma.StreamResponse, error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	user, token := callerOf(ctx).User, callerOf(ctx).Token
	o, err := s.lookUp(ctx, in.ID, user)
	if err != nil {
		return nil, err
	}
	if err := s.streams.open(user); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.streams.done(user)
		r, w := humachi.Unwrap(hc)
		x := w.(*exchange)
		st := newStream(x)
		if x.head {
			return
		}
		// A stream that breaks off has nobody left to be told.
		_ = s.streamOrder(r.Context(), st, o, feed{order: in.ID, user: user, token: token})
	}}, nil
}

// feed is what an event stream is about and for whom, and what it waits for.
type feed struct {
	order, user, token string
	watch              *bus.Watch
	beat               *time.Ticker
}

func (s *Server) streamOrder(ctx context.Context, st *stream, o *seen, f feed) error {
	ctx, cancel := context.WithTimeout(ctx, streamLimit)
	defer cancel()
	f.watch, f.beat = s.Edge.Watch(f.order), time.NewTicker(streamPoll)
	defer f.watch.Stop()
	defer f.beat.Stop()
	if err := st.event(o); err != nil {
		return err
	}
	// What changed before the watch began woke nobody.
	next, err := s.lookUp(ctx, f.order, f.user)
	for state := o.State; err == nil; {
		if next != nil && next.State != state {
			o, state = next, next.State
			err = st.event(o)
		}
		if err != nil || o.over() {
			return err
		}
		next, err = s.next(ctx, st, &f)
	}
	return err
}

// next is the order at its next wake-up or heartbeat; nil when nobody could be
// asked.
func (s *Server) next(ctx context.Context, st *stream, f *feed) (*seen, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closing:
		return nil, context.Canceled
	case raw := <-f.watch.C:
		return readOrder(raw)
	case <-f.beat.C:
	}
	if _, err := s.Sessions.Get(ctx, f.token); api.AsError(err) != nil {
		return nil, err
	}
	if err := st.heartbeat(); err != nil {
		return nil, err
	}
	o, err := s.lookUp(ctx, f.order, f.user)
	if err != nil {
		return nil, nil
	}
	return o, nil
}
