package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/actors/actorstest"
	"ordo/actors/coupon"
	"ordo/actors/goods"
	"ordo/actors/history"
	"ordo/actors/journal"
	"ordo/actors/learning"
	"ordo/actors/order"
	"ordo/actors/payment"
	"ordo/actors/shipping"
	"ordo/actors/user"
	"ordo/actors/wallet"
	"ordo/api"
	"ordo/bus"
)

func domainSpecs() []*actors.Spec {
	return []*actors.Spec{goods.Spec(), coupon.Spec(), wallet.Spec(), payment.Spec(),
		learning.Spec(), shipping.Spec(), user.Spec(), journal.Spec(), order.Spec()}
}

// ordo runs the binary and answers what it prints, which must succeed.
func ordo(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ordo %v: %v\n%s%s", args, err, &out, &errs)
	}
	return out.Bytes()
}

// ACCEPT M1 M2 M3 M7: the whole life of an order with payment and refund is
// told from a running shop, with what each message wrote; and exported, it runs
// as a test that fails when a message is another.
func TestFlightRecorder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	other := p.shopper().buysMixed() // another order, before
	m := p.shopper().buysMixed()
	r := m.refunds(m.o.ID, map[int]int64{0: 1})
	other.refunds(other.o.ID, nil)
	file := filepath.Join(t.TempDir(), "order.json")
	life := decode[history.Life](t, ordo(t, "tx", "show", "--data", data, "--nats", p.nats, "--json",
		"--export", file, m.o.ID))
	wantLife(t, &life, m, r.ID)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := actors.ReadScenarios(text)
	if err != nil || len(all) < 6 {
		t.Fatalf("%d scenarios: %v; %v", len(all), err, life.Notes)
	}
	actorstest.RunScenarios(t, file, domainSpecs())
	for _, s := range all {
		for i := range s.When {
			wantDifference(t, s, i)
		}
	}
	if text := ordo(t, "tx", "ls", "--data", data, "--state", "paid"); !strings.Contains(string(text),
		m.o.ID+"  paid") {
		t.Errorf("tx ls: %s", text)
	}
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	// The same is told from the files of a shop that has ended.
	after := decode[history.Life](t, ordo(t, "tx", "show", "--data", data, "--json", m.o.ID))
	wantLife(t, &after, m, r.ID)
	if a, b := api.Raw(life.Messages), api.Raw(after.Messages); !bytes.Equal(a, b) {
		t.Errorf("running: %s\nended: %s", a, b)
	}
	printed := string(ordo(t, "tx", "show", "--data", data, m.o.ID))
	for _, part := range []string{"order " + m.o.ID + " is paid", "goods <- order  ordo.goods.0.reserve",
		"insert hold", "step payment.collect", "update orders"} {
		if !strings.Contains(printed, part) {
			t.Errorf("tx show does not say %q:\n%s", part, printed)
		}
	}
}

// wantLife checks that the order's messages are all there, handled, and that it
// is told what they wrote.
func wantLife(t *testing.T, life *history.Life, m *mixed, refund string) {
	t.Helper()
	if life.State != api.OrderPaid || len(life.Notes) != 0 {
		t.Errorf("state %s, notes %v", life.State, life.Notes)
	}
	subjects, wrote := map[string]bool{}, map[string]int{}
	for _, msg := range life.Messages {
		subjects[msg.Subject] = true
		wrote[msg.Subject] += len(msg.Wrote)
		if !msg.Handled || msg.Seq == 0 || len(msg.Body) == 0 || msg.At == 0 {
			t.Errorf("message %+v", msg)
		}
		if msg.From != "edge" && msg.Cause == "" {
			t.Errorf("without cause: %+v", msg)
		}
	}
	for _, s := range []string{"ordo.order.0.submit", "ordo.goods.0.reserve", "ordo.coupon.0.redeem",
		"ordo.wallet.0.debit", "ordo.payment.0.collect", "ordo.payment.0.open", "ordo.payment.0.trade",
		"ordo.goods.0.sell", "ordo.wallet.0.grant", "ordo.shipping.0.create",
		"ordo.event.order.placed." + m.o.ID, "ordo.event.order.paid." + m.o.ID,
		"ordo.order.0.ask-refund", "ordo.payment.0.refund", "ordo.payment.0.effect-outcome",
		"ordo.goods.0.return", "ordo.wallet.0.refund"} {
		if !subjects[s] || wrote[s] == 0 {
			t.Errorf("a message on %s: %v, rows written: %d", s, subjects[s], wrote[s])
		}
	}
	if !slices.ContainsFunc(life.Steps, func(s history.Step) bool {
		return s.Name == "goods.return" && s.Occurrence == 1 && s.State == "done"
	}) {
		t.Errorf("steps %+v", life.Steps)
	}
}

// wantDifference changes one message and wants the scenario to fail, if the
// message did anything.
func wantDifference(t *testing.T, s actors.Scenario, i int) {
	t.Helper()
	if len(s.When[i].Wrote) == 0 && len(s.When[i].Sends) == 0 {
		return
	}
	var body map[string]any
	if err := json.Unmarshal(s.When[i].Body, &body); err != nil {
		t.Fatal(err)
	}
	s.When = slices.Clone(s.When)
	s.When[i].Body = []byte(`"another"`)
	var spec *actors.Spec
	for _, d := range domainSpecs() {
		if d.Name == s.Actor {
			spec = d
		}
	}
	got, err := s.Play(t.Context(), spec, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if s.Differs(got) == "" {
		t.Errorf("%s: message %d is another, and all is as before", s.Actor, i)
	}
}

// ACCEPT M7 M9: after its streams were lost an order's life is told from the
// snapshots taken of that cut, also when the last message of a mailbox is gone.
func TestTxShowBeginsWithASnapshot(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	p.shopper().buy(p.onSale(500, 10), 1)
	p.kill()
	if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
		t.Fatal(err)
	}
	p = serve(t, data).ready()
	snapped(t, data, bus.ActorNames()...)
	sku := p.onSale(500, 10)
	o := p.shopper().buy(sku, 2)
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	crashStreams(t, filepath.Join(data, "nats"), func(js jetstream.JetStream) {
		s, err := js.Stream(t.Context(), "COUPON")
		if err == nil { // that of a tick
			err = s.DeleteMsg(t.Context(), s.CachedInfo().State.LastSeq)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	life := decode[history.Life](t, ordo(t, "tx", "show", "--data", data, "--json", o.ID))
	wrote := false
	for _, m := range life.Messages {
		wrote = wrote || m.Subject == "ordo.goods.0.reserve" && len(m.Wrote) > 0
	}
	if !wrote || len(life.Notes) != 0 || life.State != api.OrderPlaced {
		t.Errorf("state %s, notes %q, messages %s", life.State, life.Notes, api.Raw(life.Messages))
	}
}
