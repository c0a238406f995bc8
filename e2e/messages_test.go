package e2e

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"ordo/api/schema"
)

// unseen are subjects that the test's shop has no use for, with the reason; or a
// kind of subjects, alone or with the last word.
var unseen = map[string]string{
	"command void":           "only after a message that can never be published",
	"command effect-outcome": "of actors without effects",
	"command retry-dead":     "only goods has a letter that is retried",
	"command dismiss-dead":   "only goods has a letter that is dismissed",
	"query result":           "asked of order",
	"query schema":           "TestSchemasAreServed asks them all",
	"timer":                  "seen as the message that it brings back",
	"dead-letter":            "only goods has letters",

	"ordo.event.order.settled.*":       "only where actors' files differ",
	"ordo.order.0.remake":              "only `ordo repair` sends it",
	"ordo.order.0.settle":              "only where actors' files differ",
	"ordo.event.order.cancel-failed.*": "only where a payment wins against a cancel",
	"ordo.event.order.refund-failed.*": "only after a gateway has refused a refund",
	"ordo.payment.0.refund-failed":     "only Stripe tells of it",
	"ordo.payment.0.release":           "only where a gateway does not answer to a close",
	"ordo.q.journal.webhook-call":      "answers workers alone, and has secrets",
	"ordo.shipping.0.restore":          "only after a gateway has refused a refund",
}

// ACCEPT P5
// Whatever a shop publishes in its life fits the schema of its subject, and so do
// the answers of its queries and what stands in its buckets. Nothing is published
// that has no schema, and all that has one is seen or named above.
func TestMessagesFitTheirSchemas(t *testing.T) {
	t.Parallel()
	addr := crashFreeAddr(t)
	g := serveGateway(t, addr)
	p := crashServe(t, addr, t.TempDir(), append(g.flags, "--expiry", "5s", "--pay-margin", "1s",
		"--pay-query", "1s", "--nats-listen", "127.0.0.1:0", "--webhook-insecure")...)
	p.ready()
	confOrders(p)
	confPayments(p, g)
	confLetter(p)
	confTransactions(p)
	l := liveOn(p, g)
	c, nc := newChecker(t), p.connect()
	c.streams(nc)
	c.answers(nc, l.questions(nc))
	c.complete()
	c.draws()
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// complete names what was not seen without a reason, and reasons for nothing.
func (c *checker) complete() {
	c.t.Helper()
	used := map[string]bool{}
	for _, s := range schema.All() {
		last := s.Subject[strings.LastIndexByte(s.Subject, '.')+1:]
		why := ""
		for _, key := range []string{s.Subject, s.Kind + " " + last, s.Kind} {
			if unseen[key] != "" {
				why, used[key] = key, true
			}
		}
		if c.seen[s.Subject] == 0 && why == "" {
			c.t.Errorf("%s was not seen, and nothing says why", s.Subject)
		}
	}
	for key := range unseen {
		if !used[key] {
			c.t.Errorf("there is no %s", key)
		}
	}
}

// scrubbed are parts of examples that are of the machine that made them, or look
// like somebody's secrets, and what stands for them.
var scrubbed = []struct {
	part *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`"host":"[^"]*"`), `"host":"shop-1"`},
	{regexp.MustCompile(`"file":"[^"]*/`), `"file":"/var/lib/ordo/actors/`},
	{regexp.MustCompile(`"whsec_[^"]*"`), `"whsec_…"`},
	{regexp.MustCompile(`("\$argon2id[^"]*)\$[^"]*\$[^"]*"`), `$1$$…$$…"`},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), `gateway.example`},
}

func scrub(body json.RawMessage) json.RawMessage {
	for _, s := range scrubbed {
		body = s.part.ReplaceAll(body, []byte(s.by))
	}
	return body
}

// draws writes the examples that lack; without -draw it names them.
func (c *checker) draws() {
	c.t.Helper()
	all := schema.Examples()
	for subject, e := range c.examples {
		was := all[subject]
		if was.Body != nil && (was.Reply != nil || e.Reply == nil) {
			continue
		}
		e.Body, e.Reply = scrub(e.Body), scrub(e.Reply)
		if all[subject] = e; !*draw {
			c.t.Errorf("%s has no example: run `make docs`", subject)
		}
	}
	if *draw {
		if err := os.WriteFile(examplesFile, indented(c.t, all), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
}
