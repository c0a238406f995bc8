package payment_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/payment"
	"ordo/api"
	"ordo/bus"
)

// due is what every order of these tests owes.
const due = 2200

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// bench is a payment actor with orders and a gateway's words.
type bench struct {
	*actorstest.Actor
	n int
}

func newBench(t *testing.T) *bench { return &bench{Actor: actorstest.New(t, payment.Spec())} }

func (b *bench) next() string { b.n++; return fmt.Sprint("test-", b.n) }

func (b *bench) id(prefix string) string { return api.DeriveID(prefix, b.Now, b.next()) }

// collect has a new order of usr_1 paid within 15 minutes.
func (b *bench) collect() (order string) {
	b.T.Helper()
	order = b.id(api.PrefixOrder)
	b.From("order", &api.CollectPayment{Step: step(order), User: "usr_1", Amount: gbp(due),
		ExpiresAt: api.TimeOf(b.Now.Add(15 * time.Minute))})
	return order
}

func step(order string) api.Step { return api.Step{Order: order, Name: "payment.collect"} }

func (b *bench) click(order, provider, product string) *api.OpenAttempt {
	return &api.OpenAttempt{ID: b.id(api.PrefixPayment), Order: order, User: "usr_1",
		Provider: provider, Product: product}
}

func (b *bench) open(order, provider, product string) (a api.Attempt) {
	b.T.Helper()
	r := b.MustEdge(b.next(), b.click(order, provider, product))
	if err := json.Unmarshal(r.Value, &a); err != nil {
		b.T.Fatal(err)
	}
	return a
}

func (b *bench) page(order string) api.Attempt {
	b.T.Helper()
	return b.open(order, api.PayAlipay, api.ProductPage)
}

// trade is what the gateway says about an attempt in the given state.
func (b *bench) trade(a api.Attempt, state string) api.Trade {
	t := api.Trade{Provider: a.Provider, Attempt: a.ID, State: state}
	if state != api.TradeNone {
		t.TradeNo, t.Amount = "2026"+a.ID, a.Amount
	}
	if state == api.TradePaid {
		t.PaidAt = a.OpenedAt.Add(time.Minute)
	}
	return t
}

// notice has a verified notice come, as a message of its own.
func (b *bench) notice(t api.Trade) string {
	b.T.Helper()
	var noted api.Noted
	r := b.MustEdge(b.next(), &api.NoteTrade{Trade: t})
	if err := json.Unmarshal(r.Value, &noted); err != nil {
		b.T.Fatal(err)
	}
	return noted.Result
}

func (b *bench) pay(a api.Attempt) string {
	b.T.Helper()
	return b.notice(b.trade(a, api.TradePaid))
}

func (b *bench) close(order string, atOnce bool) {
	b.T.Helper()
	b.From("order", &api.ClosePayment{Step: step(order), AtOnce: atOnce})
}

// outcome has a worker report a final outcome.
func (b *bench) outcome(effect string, data any) {
	b.T.Helper()
	b.Apply(actors.Delivery{Subject: bus.MailboxSubject("payment", api.VerbOutcome), ID: b.next(),
		Body: api.Raw(&api.Outcome{Effect: effect, Attempt: 1, Final: true, Data: api.Raw(data)})})
	if len(b.Out.Dead) > 0 {
		b.T.Fatalf("the outcome of %s became a dead letter", effect)
	}
}

func (b *bench) payment(order string) (p api.Payment) {
	b.T.Helper()
	if r := b.Ask(&api.GetPayment{Order: order}, &p); r != nil {
		b.T.Fatal(r)
	}
	return p
}

func (b *bench) want(order, state string) {
	b.T.Helper()
	if p := b.payment(order); p.State != state {
		b.T.Errorf("the payment is %s, want %s", p.State, state)
	}
}

func (b *bench) attempt(id string) (a api.Attempt) {
	b.T.Helper()
	if r := b.Ask(&api.GetAttempt{ID: id}, &a); r != nil {
		b.T.Fatal(r)
	}
	return a
}

// wantAnswers checks what the last message had the order actor told: done,
// undone, refused.
func (b *bench) wantAnswers(want ...string) {
	b.T.Helper()
	var got []string
	for _, r := range actorstest.Sent[api.StepResult](b.Actor) {
		switch {
		case r.Undo:
			got = append(got, "undone")
		case r.Refusal != nil:
			got = append(got, "refused")
		default:
			got = append(got, "done")
		}
	}
	if !reflect.DeepEqual(got, want) {
		b.T.Errorf("answered %v, want %v", got, want)
	}
}

// wantEffects checks which effects the last message began, by the ids.
func (b *bench) wantEffects(want ...string) {
	b.T.Helper()
	var got []string
	for _, e := range b.Out.Effects {
		got = append(got, e.ID)
	}
	if !reflect.DeepEqual(got, want) {
		b.T.Errorf("began %v, want %v", got, want)
	}
}

// call is the work of the one effect that the last message began.
func (b *bench) call() (effect string, c api.GatewayCall) {
	b.T.Helper()
	if len(b.Out.Effects) != 1 {
		b.T.Fatalf("began %d effects, want 1", len(b.Out.Effects))
	}
	if err := json.Unmarshal(b.Out.Effects[0].Body, &c); err != nil {
		b.T.Fatal(err)
	}
	return b.Out.Effects[0].ID, c
}

// incidents are the kinds of all incidents, oldest first.
func (b *bench) incidents() (kinds []string) {
	b.T.Helper()
	var list api.PaymentIncidentList
	if r := b.Ask(&api.ListPaymentIncidents{}, &list); r != nil {
		b.T.Fatal(r)
	}
	for _, i := range list.Incidents {
		kinds = append([]string{i.Kind}, kinds...)
	}
	return kinds
}

func (b *bench) wantIncidents(want ...string) {
	b.T.Helper()
	if got := b.incidents(); !reflect.DeepEqual(got, want) {
		b.T.Errorf("incidents %v, want %v", got, want)
	}
}

// log is the pay log of an order.
func (b *bench) log(order string) []api.PayLogEntry {
	b.T.Helper()
	var log api.PayLog
	if r := b.Ask(&api.ListPayLog{Order: order}, &log); r != nil {
		b.T.Fatal(r)
	}
	return log.Entries
}

// wantKept checks what is left of the captures of an order by the pay log.
func (b *bench) wantKept(order string, want int64) {
	b.T.Helper()
	var kept int64
	for _, e := range b.log(order) {
		if e.Kind == api.BookPay {
			kept += e.Amount.Amount
		} else {
			kept -= e.Amount.Amount
		}
	}
	if kept != want {
		b.T.Errorf("the pay log adds up to %d, want %d", kept, want)
	}
}

// eventTypes are the types of the events that the last message emitted.
func (b *bench) eventTypes() (types []string) {
	for _, e := range actorstest.Events(b.Actor) {
		types = append(types, e.Type)
	}
	return types
}

// ACCEPT Y2: ten clicks give one attempt; another product replaces it.
func TestTenClicksOneAttempt(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	first := b.page(order)
	if first.State != api.AttemptOpen || first.Amount != gbp(due) || first.Order != order ||
		first.User != "usr_1" || first.Link != (api.Link{}) ||
		first.ExpiresAt != b.payment(order).ExpiresAt {
		t.Errorf("opened %+v", first)
	}
	b.wantEffects() // the edge makes the link
	for range 9 {
		if again := b.page(order); again != first {
			t.Errorf("a further click gave %+v", again)
		}
	}
	qr := b.open(order, api.PayAlipay, api.ProductQR)
	b.wantEffects("cls-"+first.ID, "open-"+qr.ID)
	if p := b.payment(order); len(p.Attempts) != 2 || p.Attempts[0].State != api.AttemptClosed ||
		p.Attempts[1].ID != qr.ID || p.Attempts[1].State != api.AttemptOpen {
		t.Errorf("attempts %+v", p.Attempts)
	}
	if again := b.open(order, api.PayAlipay, api.ProductQR); again.ID != qr.ID {
		t.Errorf("a click while it is being opened gave %+v", again)
	}
	b.outcome("open-"+qr.ID, api.Opened{Link: api.Link{QRCode: "https://qr.example/1"}})
	if !slices.ContainsFunc(b.Out.Wakes, func(w actors.Wake) bool { return w.Key == qr.ID }) {
		t.Error("nobody was told the link")
	}
	if again := b.open(order, api.PayAlipay, api.ProductQR); again.Link.QRCode == "" {
		t.Errorf("a click later has no link: %+v", again)
	}
}

// ACCEPT Y2 Y7: what can't be paid is refused and changes nothing.
func TestOpenRefused(t *testing.T) {
	b := newBench(t)
	order, paid, closed := b.collect(), b.collect(), b.collect()
	used := b.page(paid)
	b.pay(used)
	b.close(closed, true)
	good := b.click(order, api.PayAlipay, api.ProductPage)
	for name, c := range map[string]struct {
		change func(*api.OpenAttempt)
		code   api.Code
		place  string
	}{
		"no id":         {func(m *api.OpenAttempt) { m.ID = "" }, api.CodeInvalid, "id"},
		"an order's id": {func(m *api.OpenAttempt) { m.ID = order }, api.CodeInvalid, "id"},
		"another's id":  {func(m *api.OpenAttempt) { m.ID = used.ID }, api.CodeIDReused, "id"},
		"no order":      {func(m *api.OpenAttempt) { m.Order = "" }, api.CodeInvalid, "order"},
		"unknown order": {func(m *api.OpenAttempt) { m.Order = "ord_x" }, api.CodeNotFound, "order"},
		"no user":       {func(m *api.OpenAttempt) { m.User = "" }, api.CodeInvalid, "user"},
		"another user":  {func(m *api.OpenAttempt) { m.User = "usr_2" }, api.CodeNotFound, "order"},
		"provider":      {func(m *api.OpenAttempt) { m.Provider = "cash" }, api.CodeInvalid, "provider"},
		"no product":    {func(m *api.OpenAttempt) { m.Product = "" }, api.CodeInvalid, "product"},
		"stripe app": {func(m *api.OpenAttempt) { m.Provider, m.Product = "stripe", "app" },
			api.CodeInvalid, "product"},
		"paid":   {func(m *api.OpenAttempt) { m.Order = paid }, api.CodeNotPayable, "order"},
		"closed": {func(m *api.OpenAttempt) { m.Order = closed }, api.CodeNotPayable, "order"},
	} {
		m := *good
		c.change(&m)
		r := b.Edge(b.next(), &m)
		if r.Refusal == nil || r.Refusal.Code != c.code || r.Refusal.Place != c.place {
			t.Errorf("%s: %+v", name, r.Refusal)
		}
	}
	if p := b.payment(order); len(p.Attempts) != 0 || p.State != api.PaymentOpen {
		t.Errorf("a refusal left %+v", p)
	}
	b.Advance(15 * time.Minute)
	if r := b.Edge(b.next(), good); r.Refusal == nil || r.Refusal.Code != api.CodeNotPayable {
		t.Errorf("after the time limit: %+v", r.Refusal)
	}
}

// ACCEPT Y2: an order has at most MaxAttempts attempts, one of them open.
func TestAttemptsLimit(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	products := []string{api.ProductPage, api.ProductApp}
	for i := range api.MaxAttempts {
		b.open(order, api.PayAlipay, products[i%2])
	}
	r := b.Edge(b.next(), b.click(order, api.PayAlipay, api.ProductPage))
	if r.Refusal == nil || r.Refusal.Code != api.CodeLimitExceeded {
		t.Errorf("one more: %+v", r.Refusal)
	}
	p := b.payment(order)
	if n := len(p.Attempts); n != api.MaxAttempts || p.Attempts[n-1].State != api.AttemptOpen {
		t.Errorf("%d attempts", n)
	}
	if got := b.pay(p.Attempts[0]); got != api.NotedPaid {
		t.Errorf("money on a replaced attempt is %s", got)
	}
	b.wantEffects("cls-" + p.Attempts[len(p.Attempts)-1].ID)
	b.want(order, api.PaymentPaid)
}

// ACCEPT Y7: what the gateway does not open is over, and the shopper may try
// again inside the deadline.
func TestNotOpened(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.open(order, api.PayStripe, api.ProductPage)
	no := api.Refuse(api.CodeInvalid, "the currency is not supported")
	b.outcome("open-"+a.ID, api.Opened{Refusal: no})
	if a = b.attempt(a.ID); a.State != api.AttemptClosed || a.Problem == nil ||
		a.Problem.Message != no.Message {
		t.Errorf("refused: %+v", a)
	}
	b.wantAnswers()
	b.wantEffects()
	second := b.open(order, api.PayStripe, api.ProductPage)
	if second.ID == a.ID {
		t.Error("the refused attempt was given again")
	}
	b.close(order, false)
	b.wantAnswers()
	b.wantEffects() // there is nothing to close yet
	b.outcome("open-"+second.ID, api.Opened{Refusal: no})
	b.wantAnswers("undone")
	b.want(order, api.PaymentClosed)
}

// ACCEPT Y2 E2: a trade that was being opened when its attempt was replaced or
// its payment closed is closed as soon as it can be named.
func TestOpenedTooLate(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.open(order, api.PayStripe, api.ProductPage)
	b.page(order)
	b.wantEffects() // the session has no name yet
	b.outcome("open-"+a.ID, api.Opened{Link: api.Link{URL: "https://pay.example", Ref: "cs_1"}})
	if id, c := b.call(); id != "cls-"+a.ID || c.Attempt.Link.Ref != "cs_1" {
		t.Errorf("%s of %+v", id, c)
	}
	other := b.collect()
	a = b.open(other, api.PayStripe, api.ProductPage)
	b.close(other, false)
	b.outcome("open-"+a.ID, api.Opened{Link: api.Link{Ref: "cs_2"}})
	b.wantEffects("cls-" + a.ID)
	b.outcome("cls-"+a.ID, b.trade(a, api.TradeClosed))
	b.wantAnswers("undone")
}

// ACCEPT Y2 M4: a process that ends after the gateway's answer has it asked
// again. Another link, or a no because the trade is paid by then, changes
// nothing; a link after a no is of a trade that must be closed.
func TestOpenedAgain(t *testing.T) {
	b := newBench(t)
	no := api.Refuse(api.CodeNotPayable, "ACQ.TRADE_HAS_SUCCESS")
	link := api.Link{QRCode: "https://qr.example/1"}
	a := b.open(b.collect(), api.PayAlipay, api.ProductQR)
	b.outcome("open-"+a.ID, api.Opened{Link: link})
	for _, other := range []api.Opened{{Refusal: no}, {Link: api.Link{QRCode: "https://qr.example/2"}}} {
		b.outcome("open-"+a.ID, other)
		if now := b.attempt(a.ID); now.Link != link || now.State != api.AttemptOpen ||
			now.Problem != nil {
			t.Errorf("attempt after %+v: %+v", other, now)
		}
	}
	a = b.open(b.collect(), api.PayAlipay, api.ProductQR)
	b.outcome("open-"+a.ID, api.Opened{Refusal: no})
	b.wantEffects()
	b.outcome("open-"+a.ID, api.Opened{Link: link})
	b.wantEffects("cls-" + a.ID)
	if now := b.attempt(a.ID); now.State != api.AttemptClosed {
		t.Errorf("attempt: %+v", now)
	}
}

// ACCEPT Y3 Y4 Y6: a notice pays the order once, however often and by whatever
// way it comes, also as TRADE_FINISHED a year later.
func TestPaidOnce(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	a := b.page(order)
	paid := b.trade(a, api.TradePaid)
	if got := b.notice(paid); got != api.NotedPaid {
		t.Fatalf("noted %s", got)
	}
	b.wantAnswers("done")
	r := actorstest.Only[api.StepResult](b.Actor)
	want := api.Raw(api.Paid{Attempt: a.ID, Provider: api.PayAlipay, TradeNo: paid.TradeNo,
		Amount: gbp(due), PaidAt: paid.PaidAt})
	if r.Step != step(order) || string(r.Data) != string(want) {
		t.Errorf("answered %+v with %s", r.Step, r.Data)
	}
	events := actorstest.Events(b.Actor)
	var e api.PayLogEntry
	if len(events) != 1 || events[0].Type != api.EventPaymentPaid || events[0].User != "usr_1" ||
		json.Unmarshal(events[0].Data, &e) != nil || e != b.log(order)[0] {
		t.Errorf("emitted %+v", events)
	}
	if e.Kind != api.BookPay || e.TradeNo != paid.TradeNo || e.At != paid.PaidAt {
		t.Errorf("booked %+v", e)
	}
	for range 20 {
		b.MustEdge("same", &api.NoteTrade{Trade: paid})
		if got := b.notice(paid); got != api.NotedPaid {
			t.Errorf("again: %s", got)
		}
		b.wantAnswers()
	}
	b.Advance(365 * 24 * time.Hour)
	b.notice(paid)
	b.wantAnswers()
	b.wantKept(order, due)
	b.wantIncidents()
	if a = b.attempt(a.ID); a.State != api.AttemptPaid || a.TradeNo != paid.TradeNo {
		t.Errorf("the attempt is %+v", a)
	}
	b.close(order, true)
	b.wantAnswers()
}

// ACCEPT Y4: a notice that comes before the attempt is known is an incident,
// and a query finds the money.
func TestNoticeBeforeOpen(t *testing.T) {
	b := newBench(t)
	order := b.collect()
	m := b.click(order, api.PayAlipay, api.ProductPage)
	paid := b.trade(api.Attempt{ID: m.ID, Provider: m.Provider, Amount: gbp(due)}, api.TradePaid)
	if got := b.notice(paid); got != api.NotedIncident {
		t.Errorf("noted %s", got)
	}
	b.notice(paid)
	b.wantIncidents(api.IncidentUnknown)
	b.MustEdge(b.next(), m)
	b.Advance(15 * time.Second)
	b.Tick()
	b.wantEffects("qry-" + m.ID + "-1")
	b.outcome("qry-"+m.ID+"-1", paid)
	b.wantAnswers("done")
	b.wantKept(order, due)
}
