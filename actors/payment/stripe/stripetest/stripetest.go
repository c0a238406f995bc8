// Package stripetest is Stripe's side of what package stripe says, for tests:
// sessions, refunds, idempotency keys and events as they are documented at
// https://docs.stripe.com/api. It refuses what the real API refuses, unknown
// parameters included. It decides nothing for the shop and signs no events.
package stripetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Key is the account's secret key.
const Key = "sk_test_51N"

// object is an object of the API as JSON has it.
type object = map[string]any

// answer is what was answered under an idempotency key.
type answer struct {
	request string
	status  int
	body    []byte
}

// Server is an account at Stripe. Make it with New.
type Server struct {
	*httptest.Server
	// Now is its clock.
	Now func() time.Time
	// Through, when not nil, takes each call; next carries it out. A test
	// breaks the line with it, before or after.
	Through func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// RefundStatus is what the next refunds are, "succeeded" if not said.
	RefundStatus string
	// Calls counts calls by method and path, ids left out.
	Calls map[string]int

	mu       sync.Mutex
	n        int
	sessions map[string]object
	intents  map[string]object
	refunds  []object
	keys     map[string]answer
}

// New starts an account; Close ends it.
func New(now func() time.Time) *Server {
	s := &Server{Now: now, Calls: map[string]int{}, sessions: map[string]object{},
		intents: map[string]object{}, keys: map[string]answer{}}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /v1/checkout/sessions", s.keyed(s.open))
	routes.HandleFunc("GET /v1/checkout/sessions/{id}", s.keyed(s.session))
	routes.HandleFunc("POST /v1/checkout/sessions/{id}/expire", s.keyed(s.expire))
	routes.HandleFunc("POST /v1/refunds", s.keyed(s.refund))
	routes.HandleFunc("GET /v1/refunds", s.keyed(s.list))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.Through != nil {
			s.Through(w, r, routes)
			return
		}
		routes.ServeHTTP(w, r)
	}))
	return s
}

// refused is a documented error.
func refused(status int, code, param, format string, args ...any) (int, object) {
	return status, object{"error": object{"type": "invalid_request_error", "code": code,
		"param": param, "message": fmt.Sprintf(format, args...)}}
}

// keyed checks a call and carries it out, once for an idempotency key.
func (s *Server) keyed(do func(*http.Request) (int, object)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.Calls[r.Pattern]++
		key, a := r.Header.Get("Idempotency-Key"), answer{}
		if err := r.ParseForm(); err != nil {
			a.put(refused(400, "parameter_invalid", "", "%v", err))
		} else if r.Header.Get("Authorization") != "Bearer "+Key {
			a.put(refused(401, "", "", "Invalid API Key provided"))
		} else if r.Header.Get("Stripe-Version") == "" {
			a.put(refused(400, "", "", "this account is pinned to nothing: say the version"))
		} else if old, ok := s.keys[key]; ok && key != "" {
			if a = old; a.request != r.URL.Path+r.Form.Encode() {
				a.put(400,
					object{"error": object{"type": "idempotency_error", "message": "Keys for " +
						"idempotent requests can only be used with the same parameters."}})
			}
		} else {
			a.request = r.URL.Path + r.Form.Encode()
			a.put(do(r))
			if key != "" {
				s.keys[key] = a
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // nobody to tell
	}
}

func (a *answer) put(status int, body object) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	a.status, a.body = status, text
}

// ForgetKeys is a day later: no idempotency key is known any more.
func (s *Server) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// unknown is the first parameter that a call does not have.
func unknown(form url.Values, known ...string) string {
	for name := range form {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "metadata[") &&
			!strings.HasPrefix(name, "payment_intent_data[metadata][") {
			return name
		}
	}
	return ""
}

func (s *Server) id(kind string) string {
	s.n++
	return fmt.Sprintf("%s%06d", kind, s.n)
}

// metadata is what stands in the parameters under metadata[…].
func metadata(form url.Values) object {
	meta := object{}
	for name := range form {
		if key, ok := strings.CutPrefix(name, "metadata["); ok {
			meta[strings.TrimSuffix(key, "]")] = form.Get(name)
		}
	}
	return meta
}

func (s *Server) open(r *http.Request) (int, object) {
	const price = "line_items[0][price_data]"
	if name := unknown(r.PostForm, "mode", "client_reference_id", "success_url", "cancel_url",
		"expires_at", "line_items[0][quantity]", price+"[currency]", price+"[unit_amount]",
		price+"[product_data][name]"); name != "" {
		return refused(400, "parameter_unknown", name, "Received unknown parameter: %s", name)
	}
	amount, err := strconv.ParseInt(r.PostForm.Get(price+"[unit_amount]"), 10, 64)
	currency := r.PostForm.Get(price + "[currency]")
	switch {
	case err != nil || amount < 0:
		return refused(400, "parameter_invalid_integer", "unit_amount", "Invalid integer")
	case amount > 99_999_999:
		return refused(400, "amount_too_large", "unit_amount", "must be no more than 999,999.99")
	case len(currency) != 3 || currency != strings.ToLower(currency):
		return refused(400, "", "currency", "Invalid currency: %s", currency)
	case r.PostForm.Get("mode") != "payment" || r.PostForm.Get("line_items[0][quantity]") != "1":
		return refused(400, "", "mode", "only payments of one thing")
	}
	until, ok := s.expiry(r.PostForm.Get("expires_at"))
	if !ok {
		return refused(400, "", "expires_at",
			"The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from now")
	}
	id := s.id("cs_test_a1")
	s.sessions[id] = object{"object": "checkout.session", "id": id, "mode": "payment",
		"client_reference_id": r.PostForm.Get("client_reference_id"), "status": "open",
		"metadata": metadata(r.PostForm), "payment_status": "unpaid", "payment_intent": nil,
		"amount_total": amount, "currency": currency, "expires_at": until, "livemode": false,
		"url": "https://checkout.stripe.com/c/pay/" + id, "created": s.Now().Unix()}
	return 200, s.sessions[id]
}

// expiry reads the time limit of a session, half an hour to a day from now.
func (s *Server) expiry(text string) (until int64, ok bool) {
	until, err := strconv.ParseInt(text, 10, 64)
	now := s.Now()
	return until, err == nil && until >= now.Add(30*time.Minute).Unix() &&
		until <= now.Add(24*time.Hour).Unix()
}

func (s *Server) session(r *http.Request) (int, object) {
	id := r.PathValue("id")
	c, ok := s.sessions[id]
	if !ok {
		return refused(404, "resource_missing", "session", "No such checkout.session: %s", id)
	}
	pi, ok := c["payment_intent"].(string)
	if r.Form.Get("expand[]") != "payment_intent.latest_charge" || !ok {
		return 200, c
	}
	full := object{}
	for name, value := range c {
		full[name] = value
	}
	full["payment_intent"] = s.intents[pi]
	return 200, full
}

func (s *Server) expire(r *http.Request) (int, object) {
	c, ok := s.sessions[r.PathValue("id")]
	if !ok {
		return refused(404, "resource_missing", "session", "No such checkout.session")
	}
	if c["status"] != "open" {
		return refused(400, "", "", "Only Checkout Sessions with a status in [\"open\"] can be "+
			"expired. This Checkout Session has a status of `%s`.", c["status"])
	}
	c["status"], c["url"] = "expired", nil
	return 200, c
}

func (s *Server) refund(r *http.Request) (int, object) {
	if name := unknown(r.PostForm, "payment_intent", "amount"); name != "" {
		return refused(400, "parameter_unknown", name, "Received unknown parameter: %s", name)
	}
	id := r.PostForm.Get("payment_intent")
	pi, ok := s.intents[id]
	if !ok {
		return refused(404, "resource_missing", "payment_intent", "No such payment_intent: %s", id)
	}
	amount, err := strconv.ParseInt(r.PostForm.Get("amount"), 10, 64)
	if err != nil || amount <= 0 {
		return refused(400, "parameter_invalid_integer", "amount", "Invalid positive integer")
	}
	charge, ok := pi["latest_charge"].(object)
	if !ok || pi["status"] != "succeeded" {
		return refused(400, "", "payment_intent", "%s does not have a successful charge", id)
	}
	switch left := charge["amount"].(int64) - charge["amount_refunded"].(int64); {
	case left == 0:
		return refused(400, "charge_already_refunded", "", "The charge has already been refunded.")
	case amount > left:
		return refused(400, "", "amount",
			"Refund amount is greater than unrefunded amount on charge")
	}
	status := cmp.Or(s.RefundStatus, "succeeded")
	if status != "failed" {
		charge["amount_refunded"] = charge["amount_refunded"].(int64) + amount
	}
	refund := object{"object": "refund", "id": s.id("re_"), "payment_intent": id, "amount": amount,
		"currency": pi["currency"], "status": status, "created": s.Now().Unix(),
		"metadata": metadata(r.PostForm)}
	s.refunds = append(s.refunds, refund)
	return 200, refund
}

// list answers refunds, newest first, a page at a time.
func (s *Server) list(r *http.Request) (int, object) {
	limit, err := strconv.Atoi(r.Form.Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		return refused(400, "", "limit", "between 1 and 100")
	}
	data, more, after := []object{}, false, r.Form.Get("starting_after")
	for _, refund := range slices.Backward(s.refunds) {
		switch {
		case refund["payment_intent"] != r.Form.Get("payment_intent"):
		case after != "":
			if refund["id"] == after {
				after = ""
			}
		case len(data) == limit:
			more = true
		default:
			data = append(data, refund)
		}
	}
	return 200, object{"object": "list", "url": "/v1/refunds", "data": data, "has_more": more}
}

// Pay has the shopper pay a session: at once, or, when late, by a bank that
// takes days and is told to Settle.
func (s *Server) Pay(id string, late bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sessions[id]
	if c == nil || c["status"] != "open" {
		return fmt.Errorf("session %s is not open", id)
	}
	pi := s.id("pi_3")
	c["status"], c["url"], c["payment_intent"] = "complete", nil, pi
	s.intents[pi] = object{"object": "payment_intent", "id": pi, "status": "processing",
		"amount": c["amount_total"], "currency": c["currency"], "latest_charge": nil}
	if !late {
		s.settle(c, true)
	}
	return nil
}

// Settle ends a payment that was late: it succeeds or fails.
func (s *Server) Settle(id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.sessions[id], ok)
}

func (s *Server) settle(c object, ok bool) {
	pi := s.intents[c["payment_intent"].(string)]
	if !ok {
		pi["status"] = "requires_payment_method"
		return
	}
	c["payment_status"], pi["status"] = "paid", "succeeded"
	pi["latest_charge"] = object{"object": "charge", "id": s.id("ch_3"), "amount": pi["amount"],
		"amount_refunded": int64(0), "created": s.Now().Unix(), "currency": pi["currency"]}
}

// SettleRefunds gives all refunds a status.
func (s *Server) SettleRefunds(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, refund := range s.refunds {
		refund["status"] = status
	}
}

// Refunds is how many refunds there are, and their sum.
func (s *Server) Refunds() (n int, sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, refund := range s.refunds {
		sum += refund["amount"].(int64)
	}
	return len(s.refunds), sum
}

// Event is the body of an event about a session as it is now, with some of the
// session's fields changed.
func (s *Server) Event(kind, session string, change map[string]any) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.event(kind, s.sessions[session], change)
}

// RefundEvent is the body of an event about the refund with a number of the
// shop, with some of its fields changed.
func (s *Server) RefundEvent(kind, number string, change map[string]any) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, refund := range s.refunds {
		if m, _ := refund["metadata"].(object); m["ordo_refund"] == number {
			return s.event(kind, refund, change)
		}
	}
	return s.event(kind, nil, change)
}

func (s *Server) event(kind string, of, change object) []byte {
	c := object{}
	for _, from := range []object{of, change} {
		for name, value := range from {
			c[name] = value
		}
	}
	var a answer
	a.put(0, object{"object": "event", "id": s.id("evt_"), "type": kind, "livemode": false,
		"created": s.Now().Unix(), "api_version": "2025-10-29.clover", "data": object{"object": c}})
	return a.body
}
