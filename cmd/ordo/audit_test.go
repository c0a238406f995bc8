package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/api"
	"ordo/bus"
)

var testStart = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// books are the actors' files of a shop without NATS: the test carries the
// messages from one to the other.
type books struct {
	t       *testing.T
	dir     string
	now     time.Time
	seq     uint64
	engines map[string]*actors.Engine
	// channels are what the files said of theirs when they were opened.
	channels map[string]*actors.Channels
	// lost holds back what other actors send to an actor.
	lost  map[string]bool
	stuck []delivery
}

type delivery struct {
	to string
	actors.Delivery
}

func newBooks(t *testing.T) *books {
	t.Helper()
	b, _ := emptyDay.books(t)
	b.open()
	return b
}

func (b *books) open() {
	b.t.Helper()
	b.engines, b.channels = map[string]*actors.Engine{}, map[string]*actors.Channels{}
	for _, spec := range specs() {
		e, err := actors.OpenEngine(b.t.Context(), spec, audit.File(b.dir, spec.Name))
		if err != nil {
			b.t.Fatal(err)
		}
		b.engines[spec.Name] = e
		if b.channels[spec.Name], err = e.Channels(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *books) close() {
	for _, e := range b.engines {
		if err := e.Close(); err != nil {
			b.t.Error(err)
		}
	}
	b.engines = nil
}

// edge has a message come from an edge, and everything that follows happen.
func (b *books) edge(id string, m api.Message) {
	b.t.Helper()
	b.deliver(delivery{m.Route().Actor, actors.Delivery{ID: id, Body: api.Raw(m),
		Subject: bus.MailboxSubject(m.Route().Actor, m.Route().Verb)}})
}

// deliver hands a message over, and then all that is sent because of it, in
// the order of sending.
func (b *books) deliver(queue ...delivery) {
	b.t.Helper()
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if b.lost[next.to] && strings.Contains(next.ID, ".") {
			b.stuck = append(b.stuck, next)
			continue
		}
		queue = append(queue, b.apply(next)...)
	}
}

func (b *books) apply(d delivery) (sent []delivery) {
	b.t.Helper()
	b.seq++
	b.now = b.now.Add(time.Millisecond)
	d.Seq, d.At = b.seq, api.TimeOf(b.now)
	out, err := b.engines[d.to].Apply(api.TimeOf(b.now), []actors.Delivery{d.Delivery})
	if err != nil {
		b.t.Fatalf("%s: %v", d.to, err)
	}
	for _, dead := range out.Dead {
		b.t.Fatalf("%s: dead letter: %s", d.to, dead.Error)
	}
	for _, s := range out.Sent {
		sent = append(sent, b.parcel(d.to, &s))
	}
	for _, m := range out.Missing { // the receiver asks, and the sender goes back
		sender, _, _ := strings.Cut(m.Sender, ".")
		rows, err := b.engines[sender].Resend(bus.Address(d.to), m.Last)
		if err != nil {
			b.t.Fatal(err)
		}
		for i := range rows {
			sent = append(sent, b.parcel(sender, &rows[i]))
		}
	}
	return sent
}

// parcel is a message of an actor on its channel.
func (b *books) parcel(from string, s *actors.Sent) delivery {
	receiver, _, _ := strings.Cut(s.Receiver, ".")
	own := b.channels[from]
	return delivery{receiver, actors.Delivery{Subject: s.Subject, Body: s.Body,
		ID:    fmt.Sprintf("%s.%s.%s.%d", bus.Address(from), own.Epoch, s.Receiver, s.Number),
		After: own.Given[s.Receiver].After}}
}

// tick sweeps the deadlines of orders.
func (b *books) tick() {
	b.t.Helper()
	b.deliver(delivery{"order", actors.Delivery{ID: fmt.Sprintf("tick-order-%d", b.seq),
		Body: []byte("{}"), Subject: bus.MailboxSubject("order", api.VerbTick)}})
}

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// submit orders units of two SKUs for 10.00 each, with coupon and balance if
// they are not zero.
func (b *books) submit(name string, units int64, couponID string, balance int64) string {
	b.t.Helper()
	token := api.DeriveID(api.PrefixCheckout, testStart, name)
	id, err := api.OrderID(token)
	if err != nil {
		b.t.Fatal(err)
	}
	total := 2 * units * 1000
	if couponID != "" {
		total -= 301
	}
	m := &api.SubmitOrder{Order: id, Token: token, User: "usr_1", BodyHash: strings.Repeat("a", 64),
		Lines: []api.ReserveLine{{SKU: "A", Quantity: units, Price: gbp(1000)},
			{SKU: "B", Quantity: units, Price: gbp(1000)}},
		Address: api.Address{Name: "Ada", Phone: "0123456", Lines: []string{"1 Street"},
			City: "London", Country: "GB"},
		Coupon: couponID, Balance: gbp(balance), Total: gbp(total), PayMethod: api.PayAlipay,
		Channel: api.ChannelWeb}
	b.edge("submit-"+id, m)
	return id
}

// fill makes a shop's day: orders placed, paid, refused and cancelled. It
// returns the orders by what became of them.
func (b *books) fill() map[string]string {
	b.t.Helper()
	b.edge("put", &api.PutProducts{Products: []api.Product{{ID: "P", Name: "P", SKUs: []api.SKU{
		{ID: "A", Name: "A", Price: gbp(1000), Stock: 50},
		{ID: "B", Name: "B", Price: gbp(1000), Stock: 50}}}}})
	b.edge("credit", &api.Credit{User: "usr_1", Amount: gbp(100_000), Reason: "gift"})
	var coupons []api.Coupon
	for i := range 3 {
		coupons = append(coupons, api.Coupon{ID: couponID(i), User: "usr_1", Name: "C",
			Amount: gbp(301), Minimum: gbp(0), ValidFrom: api.TimeOf(testStart),
			ValidUntil: api.TimeOf(testStart.Add(24 * time.Hour))})
	}
	b.edge("coupons", &api.IssueCoupons{Coupons: coupons})
	orders := map[string]string{
		"placed":    b.submit("placed", 3, couponID(0), 500),
		"paid":      b.submit("paid", 1, couponID(1), 1699),
		"refused":   b.submit("refused", 100, "", 0),
		"late":      b.submit("late", 2, couponID(1), 100), // the coupon is used
		"cancelled": b.submit("cancelled", 2, couponID(2), 700),
	}
	b.edge("cancel", &api.CancelOrder{Order: orders["cancelled"], User: "usr_1", By: "usr_1"})
	return orders
}

func couponID(i int) string {
	return api.DeriveID(api.PrefixCoupon, testStart, fmt.Sprint("coupon", i))
}

func (b *books) audit() *audit.Result {
	b.t.Helper()
	r, err := audit.Run(b.t.Context(), audit.Options{Dirs: []string{b.dir}})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

// ACCEPT M11
func TestAuditOfTrueBooks(t *testing.T) {
	b := newBooks(t)
	b.fill()
	b.tick()
	r := b.audit()
	if !r.OK || r.InFlight != 0 || r.Excused != 0 || len(r.LeftOut) != 0 {
		t.Errorf("live files: %+v", r)
	}
	for state, n := range map[string]int64{"placed": 1, "paid": 1, "refused": 2, "cancelled": 1} {
		if r.Orders[state] != n {
			t.Errorf("%d orders are %s, want %d", r.Orders[state], state, n)
		}
	}
	b.close()
	if r := b.audit(); !r.OK || len(r.Checks) != len(audit.Checks())-2 {
		t.Errorf("closed files: %+v", r)
	}
}

func TestAuditExcusesWhatIsInFlight(t *testing.T) {
	for _, held := range []string{"goods", "coupon", "wallet", "journal", "order"} {
		b, _ := goodsDay.books(t)
		b.open()
		b.lost[held] = true
		b.submit("more", 4, couponID(2), 900)
		r := b.audit()
		if !r.OK || r.InFlight == 0 {
			t.Errorf("to %s: %+v", held, r)
		}
		b.lost[held] = false
		b.deliver(b.stuck...)
		if r := b.audit(); !r.OK || r.InFlight != 0 || r.Orders["placed"] != 2 {
			t.Errorf("to %s, afterwards: %+v", held, r)
		}
	}
}

func TestAuditReportsIncidentsAsWarnings(t *testing.T) {
	b, _ := goodsDay.books(t)
	tamper(t, b.dir, "goods", `INSERT INTO _incident (kind, text, at) VALUES ('epoch', 'look', 1)`)
	tamper(t, b.dir, "wallet", `INSERT INTO _dead (id, subject, cause, body, error, attempts, at)
		VALUES ('x', 'ordo.wallet.0.debit', '', '{}', 'panic', 5, 1)`)
	r := b.audit()
	if !r.OK || len(r.Warnings) != 2 || !strings.Contains(r.Warnings[0], "look") ||
		!strings.Contains(r.Warnings[1], "panic") {
		t.Errorf("%+v", r)
	}
}

// tamper changes a file behind its actor's back.
func tamper(t *testing.T, dir, actor, change string) {
	t.Helper()
	tamperFile(t, audit.File(dir, actor), change)
}

func tamperFile(t *testing.T, path, change string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	// The actors' own guards would not let it happen.
	rows, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'trigger'`)
	if err != nil {
		t.Fatal(err)
	}
	var triggers []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		triggers = append(triggers, name)
	}
	rows.Close()
	for _, name := range triggers {
		if _, err := db.Exec(`DROP TRIGGER ` + name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`PRAGMA ignore_check_constraints = ON`); err != nil {
		t.Fatal(err)
	}
	result, err := db.Exec(change)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed nothing: %v", change, err)
	}
}

// plantedGoods break the books of fill, whose orders they name; "any" for one of
// them, "-" for an unknown one, empty for none.
var plantedGoods = []planted{
	{"stock", "goods", `UPDATE stock SET stock = stock + 1 WHERE sku = 'A'`, ""},
	{"locked", "goods", `UPDATE stock SET locked = locked - 1 WHERE sku = 'A'`, ""},
	{"hold-ledger", "goods", `UPDATE hold SET lines = replace(lines, ':3', ':2')
		WHERE state = 'held'`, "placed"},
	{"held", "goods", `UPDATE hold SET lines = replace(lines, ':1', ':2')
		WHERE state = 'sold'`, "paid"},
	{"held", "goods", `DELETE FROM hold WHERE state = 'held'`, "placed"},
	{"holds", "goods", `UPDATE hold SET state = 'sold' WHERE state = 'held'`, "placed"},
	{"holds", "order", `UPDATE orders SET state = 'refused' WHERE state = 'placed'`, "placed"},
	{"holds", "goods", `UPDATE hold SET user_id = 'usr_2' WHERE state = 'held'`, "placed"},
	{"taken", "goods", `INSERT INTO taken (sku, user_id, units) SELECT id, 'usr_1', 1 FROM sku
		LIMIT 1`, ""},
	{"accounts", "wallet", `UPDATE account SET balance = balance - 1`, ""},
	{"entries", "wallet", `UPDATE entry SET balance = balance + 7 WHERE kind = 'debit'
		AND amount = -500`, "placed"},
	{"transfers", "wallet", `DELETE FROM entry WHERE kind = 'debit' AND amount = 500`, "placed"},
	{"transfers", "wallet", `UPDATE entry SET amount = -1698 WHERE amount = -1699`, "paid"},
	{"debits", "wallet", `UPDATE entry SET order_id = 'ord_x' WHERE amount = -500`, "placed"},
	{"debits", "wallet", `UPDATE entry SET kind = 'credit', order_id = NULL WHERE amount = 700
		AND kind = 'return' AND order_id IS NOT NULL`, "cancelled"},
	{"debits", "order", `UPDATE orders SET balance = 400 WHERE state = 'placed'`, "placed"},
	{"coupons", "coupon", `UPDATE coupon SET order_id = NULL, occurrence = NULL
		WHERE order_id = (SELECT min(order_id) FROM coupon)`, "any"},
	{"coupons-used", "coupon", `UPDATE coupon SET order_id = 'ord_x', occurrence = 0
		WHERE order_id IS NULL`, "-"},
	{"coupons-used", "order", `UPDATE orders SET coupon = 'cpn_x' WHERE state = 'paid'`, "paid"},
	{"totals", "order", `UPDATE orders SET subtotal = subtotal + 1, total = total + 1
		WHERE state = 'placed'`, "placed"},
	{"totals", "order", `UPDATE orders SET lines = replace(lines, '"discount":151',
		'"discount":150') WHERE state = 'paid'`, "paid"},
	{"steps", "order", `UPDATE steps SET state = 'done' WHERE state = 'undone'
		AND name = 'wallet.debit'`, "any"},
	{"unanswered", "order", `UPDATE steps SET state = 'asked' WHERE name = 'goods.sell'`, "paid"},
	{"deadlines", "order", `UPDATE orders SET deadline = 5 WHERE state = 'placed'`, "placed"},
	{"journal", "journal", `DELETE FROM entry WHERE type = 'order.paid'`, "paid"},
	{"overdue", "order", `UPDATE orders SET deadline = 5 WHERE state = 'placed'`, "placed"},
	{"final", "journal", `UPDATE entry SET type = 'order.cancelled' WHERE type = 'order.paid'`, "paid"},
	{"undelivered", "order", `INSERT INTO _sent SELECT receiver, number + 1, number + 1, 5,
		'[{"subject":"ordo.goods.0.sell","cause":"x","body":{"order":"ord_x"}}]' FROM _out
		WHERE receiver = 'goods.0';
		UPDATE _out SET number = number + 1 WHERE receiver = 'goods.0'`, "-"},
	{"channels", "goods", `INSERT INTO _out (receiver, number) VALUES ('wallet.0', 7)`, ""},
	{"channels", "order", `UPDATE _in SET number = number + 1 WHERE sender = 'goods.0'`, ""},
}

// ACCEPT M11 C7 S5 S6 S10
func TestAuditFindsPlantedDeviations(t *testing.T) {
	for _, test := range plantedGoods {
		t.Run(test.check+" "+test.file, func(t *testing.T) {
			t.Parallel()
			b, orders := goodsDay.books(t)
			tamper(t, b.dir, test.file, test.change)
			r := b.audit()
			var found []string
			for _, d := range r.Deviations {
				if d.Check == test.check {
					found = append(found, d.Order)
				}
				if d.Row == "" || d.Problem == "" {
					t.Errorf("deviation says too little: %+v", d)
				}
			}
			if r.OK || len(found) == 0 {
				t.Fatalf("not found: %+v", r)
			}
			want, known := orders[test.order]
			if known && found[0] != want || test.order == "any" && found[0] == "" {
				t.Errorf("named orders %v, want %s %s", found, test.order, want)
			}
		})
	}
}

func TestAuditCommand(t *testing.T) {
	b, _ := goodsDay.books(t)
	var out, errs bytes.Buffer
	if code := run([]string{"audit", "--json", "--data", b.dir}, &out, &errs); code != exitOK {
		t.Errorf("exit %d: %s%s", code, &out, &errs)
	}
	tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance + 1`)
	out.Reset()
	if code := run([]string{"audit", "--json", "--data", b.dir}, &out, &errs); code != exitFailed {
		t.Errorf("exit %d with a deviation", code)
	}
	var r audit.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.OK || len(r.Deviations) != 1 ||
		!strings.Contains(r.Deviations[0].Row, "usr_1") {
		t.Errorf("%v: %s", err, &out)
	}
	out.Reset()
	run([]string{"audit", "--data", b.dir}, &out, &errs)
	if !strings.Contains(out.String(), "DEVIATION accounts") {
		t.Errorf("text: %s", &out)
	}
	if code := run([]string{"audit", "--data", t.TempDir()}, &out, &errs); code != exitUsage ||
		!strings.Contains(errs.String(), "no actors' files") {
		t.Errorf("an empty directory: exit %d: %s", code, &errs)
	}
}
