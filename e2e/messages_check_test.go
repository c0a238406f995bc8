package e2e

import (
	"bytes"
	"cmp"
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

// maxExample is the longest body that stands as an example.
const maxExample = 2 << 10

// checker checks JSON against the schemas of its subjects.
type checker struct {
	t        *testing.T
	compiled map[string]*jsonschema.Schema
	// seen counts by the subjects of the table.
	seen map[string]int
	// effects are the subjects of effects by their actor and id.
	effects  map[string]string
	examples map[string]schema.Example
}

func newChecker(t *testing.T) *checker {
	return &checker{t: t, compiled: map[string]*jsonschema.Schema{}, seen: map[string]int{},
		effects: map[string]string{}, examples: map[string]schema.Example{}}
}

// fits checks a body on a subject, or the answer to a query, and answers the
// subject's row.
func (c *checker) fits(subject string, body []byte, reply bool) (schema.Subject, bool) {
	c.t.Helper()
	row, ok := schema.Find(subject)
	if !ok {
		c.t.Errorf("%s has no schema", subject)
		return row, false
	}
	c.seen[row.Subject]++
	if err := c.check(&row, body, reply); err != nil {
		c.t.Errorf("%s: %v\n%s", subject, err, body)
		return row, false
	}
	return row, true
}

func (c *checker) check(row *schema.Subject, body []byte, reply bool) error {
	c.t.Helper()
	key := fmt.Sprint(row.Subject, reply)
	if c.compiled[key] == nil {
		text, ok := schema.Of(cmp.Or(row.Actor, "order"),
			api.GetSchema{Subject: row.Subject, Reply: reply})
		if !ok {
			c.t.Fatalf("%s does not answer the schema of %s", row.Actor, row.Subject)
		}
		c.compiled[key] = compileSchema(c.t, text)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.compiled[key].Validate(value)
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

// streams checks all messages of all streams and buckets. The effects come first,
// because outcomes name them.
func (c *checker) streams(nc *nats.Conn) {
	c.t.Helper()
	js, err := nc.JetStream()
	if err != nil {
		c.t.Fatal(err)
	}
	names := []string{bus.StreamEffects}
	for _, s := range bus.Streams() {
		names = append(names, s.Name)
	}
	for _, b := range bus.Buckets() {
		names = append(names, "KV_"+b.Name)
	}
	total := 0
	for _, name := range names {
		info, err := js.StreamInfo(name)
		if err != nil {
			c.t.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			if m, err := js.GetMsg(name, seq); err == nil { // else it is dropped by now
				total++
				c.message(m)
			}
		}
	}
	if total < 300 {
		c.t.Errorf("only %d messages", total)
	}
}

// message checks a message. That of a timer is what it will be in the mailbox that
// it is for.
func (c *checker) message(m *nats.RawStreamMsg) {
	c.t.Helper()
	switch {
	case m.Header.Get("KV-Operation") != "", m.Subject == "$KV.cart.guest-secret":
		return // a key that is gone, and one that is no cart
	case string(m.Data) == badBody:
		return
	}
	subject := cmp.Or(m.Header.Get(bus.HeaderTo), m.Subject)
	row, ok := c.fits(subject, m.Data, false)
	if ok && len(m.Data) <= maxExample && len(m.Data) > 0 && c.examples[row.Subject].Body == nil {
		c.examples[row.Subject] = schema.Example{Body: m.Data}
	}
	switch {
	case row.Kind == "effect":
		c.effects[row.Actor+" "+decode[api.Effect](c.t, m.Data).ID] = row.Subject
	case strings.HasSuffix(row.Subject, "."+api.VerbOutcome):
		c.outcome(row.Actor, m.Data)
	}
}

// outcome checks what a final outcome carries against the table of effects.
func (c *checker) outcome(actor string, body []byte) {
	c.t.Helper()
	o := decode[api.Outcome](c.t, body)
	subject := c.effects[actor+" "+o.Effect]
	if subject == "" {
		c.t.Errorf("%s: nobody began the effect of %s", actor, body)
		return
	}
	row, _ := schema.Find(subject)
	if !o.Final || row.Reply == "" || string(o.Data) == "null" {
		return
	}
	if err := c.check(&row, o.Data, true); err != nil {
		c.t.Errorf("outcome of %s: %v\n%s", subject, err, o.Data)
	}
	e := c.examples[subject]
	e.Reply = o.Data
	c.examples[subject] = e
}

// answers asks these questions, by their queries.
func (c *checker) answers(nc *nats.Conn, all map[string]string) {
	c.t.Helper()
	for _, query := range slices.Sorted(maps.Keys(all)) {
		subject, body := "ordo.q."+query, json.RawMessage(cmp.Or(all[query], "{}"))
		m, err := nc.Request(subject, body, 10*time.Second)
		if err != nil {
			c.t.Fatalf("%s: %v", subject, err)
		}
		if code := m.Header.Get("Nats-Service-Error-Code"); code != "" {
			c.t.Errorf("%s %s: %s %s", subject, body, code, m.Data)
			continue
		}
		row, ok := c.fits(subject, m.Data, true)
		if err := c.check(&row, body, false); err != nil {
			c.t.Errorf("%s: %v\n%s", subject, err, body)
		}
		if ok && len(m.Data) <= maxExample {
			c.examples[row.Subject] = schema.Example{Body: body, Reply: m.Data}
		}
	}
}

// ACCEPT P5
// An actor answers the schemas of its own subjects and of buckets, and of no other.
func TestSchemasAreServed(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir()).ready()
	nc := p.connect()
	for _, s := range schema.All() {
		if s.Kind == "timer" {
			continue
		}
		m, err := nc.Request(bus.QuerySubject(cmp.Or(s.Actor, "user"), api.EndpointSchema),
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

// ACCEPT P5
// The examples that are served fit their schemas, which let nothing else pass.
func TestExamplesFit(t *testing.T) {
	c := newChecker(t)
	for subject, e := range schema.Examples() {
		row, ok := schema.Find(subject)
		if !ok || row.Subject != subject {
			t.Errorf("there is no subject %s", subject)
			continue
		}
		c.example(&row, e.Body, false)
		c.example(&row, e.Reply, true)
	}
	if len(c.compiled) < 150 {
		t.Errorf("only %d schemas", len(c.compiled))
	}
}

// example checks an example, and that it does not pass with a field more.
func (c *checker) example(row *schema.Subject, body json.RawMessage, reply bool) {
	c.t.Helper()
	if body == nil {
		return
	}
	if err := c.check(row, body, reply); err != nil {
		c.t.Errorf("%s: %v\n%s", row.Subject, err, body)
	}
	name := row.Type
	if reply {
		name = row.Reply
	}
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil || name == "" {
		return // a list, or anything
	}
	fields["unknown"] = 1
	if c.check(row, api.Raw(fields), reply) == nil {
		c.t.Errorf("%s: an unknown field passes:\n%s", row.Subject, api.Raw(fields))
	}
}
