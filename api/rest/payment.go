package rest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"ordo/actors/payment/gateway"
	"ordo/api"
)

const (
	// linkWait is how long a request waits for a link that only the provider
	// can say.
	linkWait = 8 * time.Second
	// noticeTimeout bounds one notice of a provider.
	noticeTimeout = 15 * time.Second
	// forgedPerSecond is how many notices that can't be believed are recorded
	// in a second; more are refused all the same.
	forgedPerSecond = 20
)

func (s *Server) paymentRoutes() {
	open := s.op("pay-order", "POST /v1/orders/{id}/payments", users,
		"Pay an order: a link to the provider; again while it is open, the same one")
	open.DefaultStatus = http.StatusCreated
	open.Responses["202"] = &huma.Response{Description: "The provider has not said the link yet: " +
		"ask again.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: s.schema(api.Attempt{})}}}
	route(s, open, s.payOrder)
	route(s, s.op("get-payment", "GET /v1/orders/{id}/payments", users,
		"What an order is owed, with all attempts"), s.getPayment)
	route(s, s.op("list-payments", "GET /admin/v1/payments", support,
		"Payments of all orders, newest first"), s.listPayments)
	route(s, s.op("get-any-payment", "GET /admin/v1/orders/{id}/payments", support,
		"Anybody's payment"), s.getAnyPayment)
	route(s, s.op("list-pay-log", "GET /admin/v1/paylog", support,
		"Money that moved at providers, oldest first"), s.listPayLog)
	route(s, s.op("list-incidents", "GET /admin/v1/incidents", support,
		"Payments and notices that a person should know of, newest first"), s.listIncidents)
	s.router.Post("/pay/{provider}/notify", s.notify)
	s.router.Get("/pay/{provider}/return", s.returned)
}

type payInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body *struct {
		Provider string `json:"provider,omitempty" enum:"alipay,stripe" doc:"As ordered if not said."`
		Product  string `json:"product,omitempty" enum:"page,app,qr" doc:"A page if not said."`
	}
}

// paying is an attempt with its link, or one without it yet.
type paying struct {
	Status     int
	RetryAfter string `header:"Retry-After"`
	Body       api.Attempt
}

// payOrder is row Y2. The attempt is committed before its link is made, and
// the same attempt always has the same link.
func (s *Server) payOrder(ctx context.Context, in *payInput) (*paying, error) {
	if err := checkOrderID(in.ID); err != nil {
		return nil, err
	}
	m := &api.OpenAttempt{ID: api.NewID(api.PrefixPayment), Order: in.ID,
		User: callerOf(ctx).User, Product: api.ProductPage}
	if in.Body != nil {
		m.Provider = in.Body.Provider
		if in.Body.Product != "" {
			m.Product = in.Body.Product
		}
	}
	if m.Provider == "" {
		var o api.Order
		if err := s.Edge.Ask(ctx, &api.GetOrder{ID: in.ID, User: m.User}, &o); err != nil {
			return nil, err
		}
		m.Provider = o.PayMethod
	}
	to := s.Gateways.Get(m.Provider)
	if to == nil {
		return nil,
			api.Refuse(api.CodeInvalid, "the shop does not take %q", m.Provider).At("provider")
	}
	out := &paying{Status: http.StatusCreated}
	if err := s.openAttempt(ctx, m, &out.Body); err != nil {
		return nil, err
	}
	if api.Remote(m.Provider, m.Product) {
		return s.awaitLink(ctx, out)
	}
	var err error
	out.Body.Link, err = to.Link(&out.Body)
	return out, err
}

// openAttempt asks for an attempt. The payment actor may not know of an order
// yet that has just been placed; then it is asked again.
func (s *Server) openAttempt(ctx context.Context, m *api.OpenAttempt, a *api.Attempt) error {
	const first, longest = 10 * time.Millisecond, 250 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	for pause := first; ; pause = min(2*pause, longest) {
		err := s.do(ctx, "open-"+m.ID, m, a)
		if !is(err, api.CodeNotFound) {
			return err
		}
		o, oerr := s.lookUp(ctx, m.Order, m.User)
		if oerr != nil || o.State != api.OrderPlaced {
			return errors.Join(oerr, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		m.ID = api.NewID(api.PrefixPayment)
	}
}

// awaitLink waits for the link that the provider says.
func (s *Server) awaitLink(ctx context.Context, out *paying) (*paying, error) {
	w := s.Edge.Watch(out.Body.ID)
	defer w.Stop()
	end := time.NewTimer(linkWait)
	defer end.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		switch a := &out.Body; {
		case a.Link != (api.Link{}):
			return out, nil
		case a.State == api.AttemptClosed && a.Problem != nil:
			return nil, a.Problem
		case a.State != api.AttemptOpen: // replaced by another one, or paid by it
			return nil, api.Refuse(api.CodeNotPayable, "the attempt is %s", a.State)
		}
		var raw json.RawMessage
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			out.Status, out.RetryAfter = http.StatusAccepted, "1"
			return out, nil
		case raw = <-w.C:
		case <-poll.C:
			if err := s.Edge.Ask(ctx, &api.GetAttempt{ID: out.Body.ID}, &raw); err != nil {
				return nil, err
			}
		}
		if err := json.Unmarshal(raw, &out.Body); err != nil {
			return nil, err
		}
	}
}

func (s *Server) getPayment(ctx context.Context, in *ByID) (*answer[passed[api.Payment]], error) {
	return pass[api.Payment](ctx, s, &api.GetPayment{Order: in.ID, User: callerOf(ctx).User})
}

func (s *Server) getAnyPayment(ctx context.Context, in *ByID) (
	*answer[passed[api.Payment]], error) {
	return pass[api.Payment](ctx, s, &api.GetPayment{Order: in.ID})
}

type paymentsInput struct {
	PageQuery
	State string `query:"state" enum:"open,closing,closed,paid"`
}

func (s *Server) listPayments(ctx context.Context, in *paymentsInput) (
	*answer[passed[api.PaymentList]], error) {
	return pass[api.PaymentList](ctx, s, &api.ListPayments{Page: in.page(), State: in.State})
}

type payLogInput struct {
	PageQuery
	Order string `query:"order" maxLength:"64"`
	NewestFirst
}

// listPayLog is row L4.
func (s *Server) listPayLog(ctx context.Context, in *payLogInput) (
	*answer[passed[api.PayLog]], error) {
	return pass[api.PayLog](ctx, s, &api.ListPayLog{Page: in.page(), Order: in.Order,
		Newest: in.Newest})
}

type incidentsInput struct {
	PageQuery
	Kind string `query:"kind" maxLength:"32"`
}

func (s *Server) listIncidents(ctx context.Context, in *incidentsInput) (
	*answer[passed[api.PaymentIncidentList]], error) {
	return pass[api.PaymentIncidentList](ctx, s,
		&api.ListPaymentIncidents{Page: in.page(), Kind: in.Kind})
}

// notify takes what a provider posts. The provider is told that it was
// accepted only after the payment actor has committed it; what can't be
// believed is recorded. Rows Y3, Y4.
func (s *Server) notify(w http.ResponseWriter, r *http.Request) {
	provider := chi.URLParam(r, "provider")
	to := s.Gateways.Get(provider)
	if to == nil {
		writeProblem(w, problemOf(api.Refuse(api.CodeNotFound, "there is nothing here")))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), noticeTimeout)
	defer cancel()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, gateway.MaxNotice))
	if err == nil {
		err = exchangeOf(ctx).bodyRead()
	}
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			writeProblem(w, problemOf(api.Refuse(api.CodeTooLarge,
				"a notice has at most %d bytes", gateway.MaxNotice)))
			return
		}
		writeProblem(w, problemOf(api.Refuse(api.CodeInvalid, "the body broke off")))
		return
	}
	told, incident := to.Notice(r.Header, body)
	switch {
	case incident != nil:
		s.recordIncident(ctx, incident, body)
		writePlain(w, http.StatusBadRequest, "fail")
	case told == nil:
		writePlain(w, http.StatusOK, to.Accepted())
	default:
		s.note(ctx, w, told, to.Accepted())
	}
}

// note brings a verified notice to the payment actor. What it could not commit
// is answered so that the provider tells it again. What became an incident is
// recorded, and a repeat would change nothing: Stripe, which looks at the status
// alone, is to stop; Alipay's protocol has no word but fail for it.
func (s *Server) note(ctx context.Context, w http.ResponseWriter, m api.Message,
	accepted string) {
	s.relate(ctx, m)
	var noted api.Noted
	err := s.do(ctx, "notice-"+sum(api.Raw(m)), m, &noted)
	switch {
	case err != nil:
		writeProblem(w, s.problem(ctx, err))
	case noted.Result == api.NotedIncident:
		writePlain(w, http.StatusOK, "fail")
	default:
		writePlain(w, http.StatusOK, accepted)
	}
}

// recordIncident records and logs a notice that can't be believed, unless there
// are too many of them.
func (s *Server) recordIncident(ctx context.Context, i *api.PaymentIncident, body []byte) {
	if !s.forged.Allow() {
		return
	}
	s.log.Warn("notice refused", "provider", i.Provider, "kind", i.Kind, "err", i.Text)
	if err := s.do(ctx, "incident-"+sum(body), &api.NoteIncident{PaymentIncident: *i},
		nil); err != nil {
		s.log.Warn("incident not recorded", "err", err)
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}

func writePlain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // nobody to tell
}

// returned is where a provider sends the browser back to. It shows, and
// decides nothing: anybody can open it. Row Y3.
func (s *Server) returned(w http.ResponseWriter, _ *http.Request) {
	writePlain(w, http.StatusOK, "Thank you. The shop is told about your payment by the "+
		"payment service itself; your order shows it in a moment.\n")
}
