package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"ordo/api"
	"ordo/api/schema"
	"ordo/bus"
)

// unseen are subjects that the test's shop has no use for, with the reason.
var unseen = map[string]string{
	"void":           "only after a message that can never be published",
	"settle":         "sent by ordo repair and by support; tested there",
	"remake":         "sent by ordo repair; tested there",
	"retry":          "support's; tested with the transactions",
	"refund-failed":  "only Stripe tells of it",
	"retry-dead":     "one letter is dismissed here; tested with dead letters",
	"pay-close":      "this gateway's orders are paid or their links never opened",
	"effect-outcome": "of actors without effects",
	"release":        "only where a gateway does not answer to a close",
	"delete-address": "no address is removed",
	"make":           "no users are made by support",
	"dismiss-dead":   "one letter, of goods, is dismissed",
	"create-webhook": "webhooks have tests of their own, as have the verbs after this",
	"change-webhook": "see create-webhook", "delete-webhook": "see create-webhook",
	"rotate-webhook": "see create-webhook", "test-webhook": "see create-webhook",
	"replay-webhook": "see create-webhook", "send-webhooks": "see create-webhook",
	"webhook": "see create-webhook",
	"restore": "only after a gateway has refused a refund",
}

// ACCEPT P5
// Whatever a shop publishes in its life fits the schema of its subject, and so do
// the answers of its queries. Nothing is published that has no schema.
func TestMessagesFitTheirSchemas(t *testing.T) {
	t.Parallel()
	addr := crashFreeAddr(t)
	g := serveGateway(t, addr)
	p := crashServe(t, addr, t.TempDir(), append(g.flags, "--expiry", "5s", "--pay-margin", "1s",
		"--pay-query", "1s", "--nats-listen", "127.0.0.1:0")...)
	p.ready()
	confOrders(p)
	confPayments(p, g)
	confLetter(p)
	liveOn(p)
	c := &checker{t: t, compiled: map[string]*jsonschema.Schema{}, seen: map[string]int{}}
	nc := p.connect()
	for _, s := range bus.Streams() {
		c.stream(nc, s.Name)
	}
	c.answers(nc)
	total := 0
	for _, n := range c.seen {
		total += n
	}
	if total < 300 {
		t.Errorf("only %d messages", total)
	}
	for _, s := range schema.All() {
		verb := s.Subject[strings.LastIndexByte(s.Subject, '.')+1:]
		if s.Kind != "command" && s.Kind != "event" && s.Kind != "effect" || c.seen[s.Subject] > 0 {
			continue
		}
		if unseen[verb] == "" && s.Kind != "event" && unseen[strings.TrimSuffix(s.Subject, ".*")] == "" {
			t.Errorf("no %s was published, and nothing says why", s.Subject)
		}
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// liveOn takes what a shop lives through besides what the test of rights does:
// stock, a refund of money and balance that support grants, a new password.
func liveOn(p *process) {
	p.t.Helper()
	sku, ann := p.onSale(1000, 9), p.shopper()
	for path, body := range map[string]any{
		"/admin/v1/stock/receive": map[string]any{"sku": sku, "quantity": 2},
		"/admin/v1/stock/adjust":  map[string]any{"sku": sku, "difference": -1, "reason": "broken"},
	} {
		p.admin().must("POST", path, body, nil)
	}
	ann.give(gbp(1000))
	o := ann.submit(ann.checkout(sku, 1).using("", 0, 1000))
	if o.State != api.OrderPaid {
		p.t.Fatalf("the order is %s", o.State)
	}
	p.fulfilled(o.ID)
	refund := ann.asks(o.ID, map[int]int64{0: 1})
	p.admin().must("POST", "/admin/v1/refunds/"+refund.ID+"/grant", map[string]string{"note": "ok"}, nil)
	eventually(p.t, "the refund", func() bool { return ann.noRefundOpen(o.ID) })
	email := "eve@example.com"
	var made struct{ Token string }
	p.as("").must("POST", "/v1/register", map[string]string{"email": email, "password": "pass-word"}, nil)
	p.as("").must("POST", "/v1/login", map[string]string{"email": email, "password": "pass-word"}, &made)
	p.as(made.Token).must("POST", "/v1/me/password", map[string]string{"old_password": "pass-word",
		"new_password": "word-pass"}, nil)
}

// checker checks JSON against the schemas of its subjects.
type checker struct {
	t        *testing.T
	compiled map[string]*jsonschema.Schema
	seen     map[string]int
}

// fits checks a body on a subject, or the answer to a query.
func (c *checker) fits(subject string, body []byte, reply bool) {
	c.t.Helper()
	row, ok := schema.Find(subject)
	if !ok {
		c.t.Errorf("%s has no schema", subject)
		return
	}
	c.seen[row.Subject]++
	key := fmt.Sprint(row.Subject, reply)
	if c.compiled[key] == nil {
		text, ok := schema.Of(row.Actor, api.GetSchema{Subject: row.Subject, Reply: reply})
		if !ok {
			c.t.Errorf("%s does not answer the schema of %s", row.Actor, subject)
			return
		}
		c.compiled[key] = compileSchema(c.t, text)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = c.compiled[key].Validate(value)
	}
	if err != nil {
		c.t.Errorf("%s: %v\n%s", subject, err, body)
	}
}

func compileSchema(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("urn:here", doc); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	compiled, err := compiler.Compile("urn:here")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return compiled
}

// stream checks all messages of a stream. Those of timers are what they will be
// in the mailbox that they are for, and outcomes of effects carry what the table
// of effects says.
func (c *checker) stream(nc *nats.Conn, stream string) {
	c.t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := js.StreamInfo(stream)
	if err != nil {
		c.t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := js.GetMsg(stream, seq)
		if err != nil {
			continue // dropped by now
		}
		if strings.Contains(string(m.Data), "{") && !json.Valid(m.Data) {
			continue // the message that nobody could handle
		}
		subject := m.Subject
		if to := m.Header.Get(bus.HeaderTo); to != "" {
			subject = to
		}
		c.fits(subject, m.Data, false)
	}
}

// asked are queries that need something to be asked with.
var asked = map[string]string{
	"ordo.q.goods.skus": `{"ids":["MUG"]}`, "ordo.q.goods.products": `{}`,
	"ordo.q.goods.categories": `{}`, "ordo.q.order.orders": `{}`, "ordo.q.order.refunds": `{}`,
	"ordo.q.order.transactions": `{}`, "ordo.q.order.tally": `{}`, "ordo.q.journal.entries": `{}`,
	"ordo.q.payment.payments": `{}`, "ordo.q.payment.incidents": `{}`, "ordo.q.payment.log": `{}`,
	"ordo.q.learning.courses": `{}`, "ordo.q.shipping.shipments": `{}`,
	"ordo.q.user.revocations": `{}`, "ordo.q.wallet.wallet": `{"user":"usr_1","currency":"GBP"}`,
	"ordo.q.wallet.entries": `{"user":"usr_1","unit":"GBP"}`, "ordo.q.coupon.list": `{"user":"usr_1"}`,
	"ordo.q.user.addresses": `{"user":"usr_1"}`,
}

// answers asks all actors what all of them answer, and the questions above.
func (c *checker) answers(nc *nats.Conn) {
	c.t.Helper()
	all := maps.Clone(asked)
	for _, actor := range bus.ActorNames() {
		all[bus.QuerySubject(actor, api.EndpointStatus)] = ""
		all[bus.QuerySubject(actor, api.EndpointDead)] = `{}`
		all[bus.QuerySubject(actor, api.EndpointEffects)] = `{}`
	}
	for _, subject := range slices.Sorted(maps.Keys(all)) {
		m, err := nc.Request(subject, []byte(all[subject]), 10*time.Second)
		if err != nil {
			c.t.Fatalf("%s: %v", subject, err)
		}
		if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
			c.t.Errorf("%s: %s %s", subject, code, m.Data)
			continue
		}
		c.fits(subject, m.Data, true)
	}
}

// ACCEPT P5
// An actor answers the schemas of its own subjects and of no other.
func TestSchemasAreServed(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	nc := p.connect()
	for _, s := range schema.All() {
		if s.Kind == "timer" {
			continue
		}
		m, err := nc.Request(bus.QuerySubject(s.Actor, api.EndpointSchema),
			api.Raw(&api.GetSchema{Subject: s.Subject}), 10*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", s.Subject, err)
		}
		compileSchema(t, m.Data)
	}
	m, err := nc.Request("ordo.q.coupon.schema", nil, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if list := decode[[]schema.Subject](t, m.Data); len(list) < 8 || list[0].Description == "" {
		t.Errorf("subjects of coupon: %+v", list)
	}
	m, err = nc.Request("ordo.q.coupon.schema", []byte(`{"subject":"ordo.goods.0.reserve"}`),
		10*time.Second)
	if err != nil || m.Header.Get("Nats-Service-Error-Code") != string(api.CodeNotFound) {
		t.Errorf("another's: %v %v", m, err)
	}
}
