package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// tx runs `ordo tx` against the shop.
func (p *process) tx(args ...string) (code int, out string) {
	p.t.Helper()
	cmd := exec.Command(binary, append(append([]string{"tx"}, args...), "--server", p.url,
		"--admin-token", adminToken)...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// ACCEPT M7: support finds an order that is stuck, is told why in a sentence, has
// it tried again, and cancels it, all from the command line.
func TestTransactionCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data).ready()
	ann := p.shopper()
	sku := p.onSale(1000, 9)
	well := ann.buy(sku, 1)
	ruleOf(t, data, "goods", `CREATE TRIGGER broken BEFORE INSERT ON hold
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	var o api.Order
	ann.must("POST", "/v1/orders?wait=0", ann.checkout(sku, 2), &o)
	eventually(t, "a dead letter", func() bool {
		_, out := p.tx("show", o.ID)
		return strings.Contains(out, "why: goods could not handle the message reserve: ") &&
			strings.Contains(out, "broken as planned") && strings.Contains(out, "dead letter 1")
	})
	if code, out := p.tx("ls", "--stuck"); code != 0 ||
		!strings.Contains(out, o.ID+"  pending  20.00 GBP") ||
		!strings.Contains(out, "goods.reserve asked since ") || strings.Contains(out, well.ID) {
		t.Errorf("ls: exit %d: %s", code, out)
	}
	if code, out := p.tx("ls", "--sku", sku, "--state", "placed", "--json"); code != 0 ||
		!strings.HasPrefix(out, `{"order":"`+well.ID) || strings.Count(out, "\n") != 1 {
		t.Errorf("ls: exit %d: %s", code, out)
	}
	if code, out := p.tx("retry", o.ID, "--reason", "hope"); code != 1 ||
		!strings.Contains(out, "asked again for goods.reserve") ||
		!strings.Contains(out, "1 failed again and stay open") {
		t.Errorf("retry too early: exit %d: %s", code, out)
	}
	ruleOf(t, data, "goods", `DROP TRIGGER broken`)
	if code, out := p.tx("retry", o.ID, "--reason", "mended"); code != 0 ||
		!strings.Contains(out, "dead letters handled") {
		t.Errorf("retry: exit %d: %s", code, out)
	}
	ann.await(o.ID, api.OrderPlaced)
	if code, out := p.tx("settle", o.ID, "--reason", "to be sure"); code != 0 ||
		!strings.Contains(out, "say the same") {
		t.Errorf("settle: exit %d: %s", code, out)
	}
	if code, out := p.tx("cancel", o.ID, "--reason", "asked for by phone"); code != 0 ||
		!strings.Contains(out, o.ID+": cancelled") {
		t.Errorf("cancel: exit %d: %s", code, out)
	}
	code, out := p.tx("show", o.ID, "--json")
	var life rest.Timeline
	if err := json.Unmarshal([]byte(out), &life); err != nil || code != 0 {
		t.Fatalf("show: exit %d: %v: %s", code, err, out)
	}
	if life.Order.State != api.OrderCancelled || len(life.Letters) < 1 || len(life.Messages) < 6 {
		t.Errorf("show: %s", out)
	}
	if code, out := p.tx("cancel", o.ID[:20], "--reason", "x"); code != 2 {
		t.Errorf("cancel of what is no order: exit %d: %s", code, out)
	}
	none := api.NewID(api.PrefixOrder)
	for _, args := range [][]string{{"show", none}, {"retry", none, "--reason", "x"},
		{"cancel", none, "--reason", "x"}, {"settle", none, "--reason", "x"}} {
		if code, out := p.tx(args...); code != 1 || !strings.Contains(out, "not_found") {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	// The same list from the file.
	if text := string(ordo(t, "tx", "ls", "--data", data, "--sku", sku)); !strings.Contains(text,
		o.ID+"  cancelled") || !strings.Contains(text, "payment until ") {
		t.Errorf("ls of the file: %s", text)
	}
}

// ACCEPT M7 M5: news of a payment that could not be handled is found by the order,
// though it names the attempt alone, and a retry of the order takes it in.
func TestStuckPaymentIsFound(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--pay-query", "10m").ready()
	ann := p.shopper()
	o := ann.buy(p.onSale(1000, 9), 1)
	a := ann.opens(o.ID, api.ProductPage)
	ruleOf(t, data, "payment", `CREATE TRIGGER broken BEFORE INSERT ON log
		BEGIN SELECT RAISE(ABORT, 'broken as planned'); END`)
	p.till().takes(&a)
	var life rest.Timeline
	eventually(t, "the dead letter of the notice", func() bool {
		p.admin().must("GET", "/admin/v1/transactions/"+o.ID, nil, &life)
		return len(life.Letters) > 0 &&
			strings.HasPrefix(life.Why[0].Text, "payment could not handle the message trade: ")
	})
	ruleOf(t, data, "payment", `DROP TRIGGER broken`)
	if code, out := p.tx("retry", o.ID, "--reason", "mended"); code != 0 ||
		!strings.Contains(out, "dead letters handled") {
		t.Errorf("retry: exit %d: %s", code, out)
	}
	ann.await(o.ID, api.OrderPaid)
}
