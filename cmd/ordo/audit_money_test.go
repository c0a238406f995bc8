package main

import (
	"crypto/rand"
	"crypto/rsa"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/actors/payment/sandbox"
	"ordo/api"
	"ordo/bus"
)

// buy orders one unit each of SKUs at 10.00, with a coupon and balance if they
// are not zero.
func (b *books) buy(name, couponID string, balance int64, skus ...string) string {
	b.t.Helper()
	token := api.DeriveID(api.PrefixCheckout, testStart, name)
	id, err := api.OrderID(token)
	if err != nil {
		b.t.Fatal(err)
	}
	total := 1000 * int64(len(skus))
	if couponID != "" {
		total -= 301
	}
	m := &api.SubmitOrder{Order: id, Token: token, User: "usr_1", BodyHash: strings.Repeat("b", 64),
		Address: api.Address{Name: "Ada", Phone: "0123456", Lines: []string{"1 Street"},
			City: "London", Country: "GB"}, Coupon: couponID, Balance: gbp(balance),
		Total: gbp(total), PayMethod: api.PayAlipay, Channel: api.ChannelWeb}
	for _, sku := range skus {
		m.Lines = append(m.Lines, api.ReserveLine{SKU: sku, Quantity: 1, Price: gbp(1000)})
	}
	b.edge("submit-"+id, m)
	return id
}

// ask asks an actor of the books.
func (b *books) ask(q api.Query, into any) {
	b.t.Helper()
	if err := b.engines[q.Endpoint().Actor].AskInto(q.Endpoint().Verb, q, into); err != nil {
		b.t.Fatalf("%+v: %v", q, err)
	}
}

// pay opens attempts for an order, unless there are some, and has so many of
// them paid.
func (b *books) pay(order string, captures int) {
	b.t.Helper()
	var p api.Payment
	if b.ask(&api.GetPayment{Order: order}, &p); len(p.Attempts) == 0 {
		for i, product := range []string{api.ProductPage, api.ProductApp}[:max(1, captures)] {
			b.edge("open-"+attemptID(order, i), &api.OpenAttempt{ID: attemptID(order, i),
				Order: order, User: "usr_1", Provider: api.PayAlipay, Product: product})
		}
	}
	for i := range captures {
		no := fmt.Sprintf("2026010122001400%012d", b.seq)
		b.edge("trade-"+no, &api.NoteTrade{Trade: api.Trade{Provider: api.PayAlipay,
			Attempt: attemptID(order, i), TradeNo: no, State: api.TradePaid, Amount: p.Amount}})
	}
}

func attemptID(order string, i int) string {
	return api.DeriveID(api.PrefixPayment, testStart, fmt.Sprint(order, i))
}

// refund has support refund lines of an order, one unit of each; all that is
// left when none are named.
func (b *books) refund(order, name string, lines ...int) {
	b.t.Helper()
	m := &api.AskRefund{ID: api.DeriveID(api.PrefixRefund, testStart, name), Order: order,
		By: "usr_support", Reason: "broken"}
	for _, l := range lines {
		m.Lines = append(m.Lines, api.RefundLine{Line: l, Quantity: 1})
	}
	b.edge("refund-"+name, m)
}

// outcomes has the gateway do all that it was asked to but for the refunds
// named.
func (b *books) outcomes(but ...string) {
	b.t.Helper()
	open, err := b.engines["payment"].OpenEffects()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range open {
		if f.Name != api.EffectPayRefund || slices.ContainsFunc(but, func(name string) bool {
			return strings.HasSuffix(f.ID, api.DeriveID(api.PrefixRefund, testStart, name))
		}) {
			continue
		}
		b.deliver(delivery{"payment", actors.Delivery{ID: "outcome-" + f.ID,
			Subject: bus.MailboxSubject("payment", api.VerbOutcome), Body: api.Raw(&api.Outcome{
				Effect: f.ID, Attempt: 1, Final: true, Data: api.Raw(&api.RefundOutcome{})})}})
	}
}

// fillMoney makes a day with payments, refunds of all kinds, courses and
// shipments. It returns the orders by what became of them.
func (b *books) fillMoney() map[string]string {
	b.t.Helper()
	b.edge("rules", &api.ConfigureOrders{Currency: "GBP", ExpirySeconds: 900, SubmitSeconds: 60,
		PointsPer: 100, RefundSeconds: 3600})
	orders := b.fill()
	b.edge("more", &api.PutProducts{Products: []api.Product{{ID: "Q", Name: "Q", SKUs: []api.SKU{
		{ID: "C", Name: "C", Price: gbp(1000), Kind: api.KindCourse, Policy: api.PolicyNone},
		{ID: "S", Name: "S", Price: gbp(1000), Stock: 1, Policy: api.PolicyPayment}}}}})
	b.edge("courses", &api.PutCourses{Courses: []api.Course{{SKU: "C", Title: "C", Seats: 5}}})
	for _, o := range []struct {
		name, coupon string
		balance      int64
		skus         []string
	}{
		{"whole", couponID(2), 400, []string{"A", "B"}},
		{"part", "", 500, []string{"A", "B", "A"}},
		{"running", "", 0, []string{"A", "B"}},
		{"course", "", 0, []string{"C"}},
		{"first", "", 0, []string{"S"}},
		{"short", "", 0, []string{"S", "B"}},
		{"twice", "", 0, []string{"B"}},
		{"overdue", "", 0, []string{"B"}},
	} {
		orders[o.name] = b.buy(o.name, o.coupon, o.balance, o.skus...)
	}
	for _, name := range []string{"whole", "part", "running", "course", "first", "short"} {
		b.pay(orders[name], 1)
	}
	b.pay(orders["twice"], 2)
	b.pay(orders["overdue"], 0)
	b.edge("cancel-2", &api.CancelOrder{Order: orders["overdue"], User: "usr_1", By: "usr_1"})
	b.pay(orders["overdue"], 1)
	b.refund(orders["whole"], "whole-1", 1)
	b.refund(orders["whole"], "whole-2")
	b.refund(orders["part"], "part-1", 0)
	b.refund(orders["part"], "part-2", 2)
	b.outcomes()
	b.refund(orders["running"], "running-1", 0)
	b.outcomes("running-1")
	return orders
}

// moneyBooks are the closed books of such a day, with those of the gateway.
func moneyBooks(t *testing.T) (dir string, orders map[string]string) {
	t.Helper()
	b, orders := gatewayDay.books(t)
	return b.dir, orders
}

// fillSandbox writes the gateway's books of what the payment actor's say.
func (b *books) fillSandbox() {
	b.t.Helper()
	if err := openSandbox(b.t, b.dir).Close(); err != nil {
		b.t.Fatal(err)
	}
	change(b.t, sandboxFile(b.dir), fmt.Sprintf(`ATTACH '%s' AS payment;
		INSERT INTO trade (n, out_trade_no, status, amount, subject, passback, notify_url,
			return_url, created, expires, paid)
		SELECT CAST(substr(trade_no, -12) AS INTEGER),
			attempt, 'TRADE_SUCCESS', amount, '', '', '', '', at, at + 1, at
		FROM payment.log WHERE kind = 'pay';
		INSERT INTO refund (trade, out_request_no, amount, reason, at)
		SELECT CAST(substr(trade_no, -12) AS INTEGER), refund, amount, '', at
		FROM payment.log WHERE kind = 'refund'`, audit.File(b.dir, "payment")))
}

// openSandbox opens the gateway in a data directory, with some keys.
func openSandbox(t *testing.T, dir string) *sandbox.Gateway {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g, err := sandbox.Open(sandbox.Config{Dir: filepath.Join(dir, "sandbox"), AppID: "1",
		SellerID: "2", AppPublicKey: &key.PublicKey, GatewayKey: key, Currency: "GBP"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func sandboxFile(dir string) string { return filepath.Join(dir, "sandbox", "sandbox.db") }

// change runs statements on a file that nobody else has open.
func change(t *testing.T, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// ACCEPT M11 Y6 Y9
func TestAuditOfTrueMoney(t *testing.T) {
	dir, orders := moneyBooks(t)
	r, err := audit.Run(t.Context(), audit.Options{Dirs: []string{dir}})
	if err != nil || !r.OK || r.InFlight != 0 || r.Excused != 0 || len(r.LeftOut) != 0 ||
		len(r.Warnings) != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	if n := len(audit.Checks()); len(r.Checks) != n {
		t.Errorf("%d checks ran, want %d", len(r.Checks), n)
	}
	if r.Orders["paid"] != 8 || r.Orders["cancelled"] != 2 || r.Orders["placed"] != 1 {
		t.Errorf("of %v: %v", slices.Sorted(maps.Keys(orders)), r.Orders)
	}
	if err := os.WriteFile(sandboxFile(dir), []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, said := auditFiles(t, dir); code != exitFailed ||
		!strings.HasPrefix(said, "sandbox.db is damaged: ") || strings.Contains(said, "DEVIATION") {
		t.Errorf("a damaged sandbox: exit %d: %s", code, said)
	}
}

// What a message under way puts right is no deviation, whoever does not get it.
func TestAuditExcusesMoneyInFlight(t *testing.T) {
	for _, held := range []string{"payment", "order", "goods", "wallet", "learning", "shipping",
		"coupon", "journal"} {
		b, orders := moneyDay.books(t)
		b.open()
		more := b.buy("more", "", 100, "A", "C")
		b.lost[held] = true
		b.pay(more, 1)
		b.refund(orders["part"], "part-3", 1)
		b.outcomes("running-1")
		if r := b.audit(); !r.OK || held != "coupon" && r.InFlight == 0 {
			t.Errorf("to %s: %+v", held, r)
		}
		b.lost[held] = false
		b.deliver(b.stuck...)
		b.outcomes()
		if r := b.audit(); !r.OK || r.InFlight != 0 || r.Orders["paid"] != 9 {
			t.Errorf("to %s, afterwards: %+v", held, r)
		}
	}
}

// ACCEPT M11 Y5 Y6 Y8 Y9 L1 L2 L3 L4 C6 E2 S10
func TestAuditFindsPlantedMoney(t *testing.T) {
	dir, orders := moneyBooks(t)
	names := maps.Collect(func(yield func(string, string) bool) {
		for name, id := range orders {
			yield(id, name)
		}
	})
	for _, name := range audit.Checks() {
		if name != "pages" && !slices.ContainsFunc(plantedMoney, func(p planted) bool { return p.check == name }) &&
			!slices.ContainsFunc(plantedGoods, func(p planted) bool { return p.check == name }) {
			t.Errorf("nothing breaks the check %s", name)
		}
	}
	for i, test := range plantedMoney {
		t.Run(fmt.Sprint(test.check, " ", i), func(t *testing.T) {
			t.Parallel()
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			path := audit.File(copied, test.file)
			if test.file == "sandbox" {
				path = sandboxFile(copied)
			}
			text := test.change
			for name, id := range orders {
				text = strings.ReplaceAll(text, "$"+name, "'"+id+"'")
			}
			tamperFile(t, path, text)
			r, err := audit.Run(t.Context(), audit.Options{Dirs: []string{copied}})
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, d := range r.Deviations {
				if d.Check == test.check && d.Row != "" && d.Problem != "" {
					found = append(found, names[d.Order])
				}
			}
			if r.OK || !slices.Contains(found, test.order) {
				t.Errorf("found %v, want %s: %+v", found, test.order, r.Deviations)
			}
		})
	}
}

// planted is a change of true books, with the check that has to find it and the
// order that it has to name. $name stands for an order's id.
type planted struct{ check, file, change, order string }

var plantedMoney = []planted{
	{"paid", "order", `UPDATE orders SET trade_no = 'x' WHERE id = $part`, "part"},
	{"paid", "order", `UPDATE orders SET state = 'refused' WHERE id = $course`, "course"},
	{"paid", "payment", `UPDATE payment SET amount = amount + 1 WHERE order_id = $first`, "first"},
	{"paid", "payment", `DELETE FROM log WHERE order_id = $first`, "first"},
	{"payments", "payment", `UPDATE payment SET state = 'closed' WHERE state = 'open'`, "placed"},
	{"payments", "payment", `UPDATE payment SET state = 'open' WHERE order_id = $overdue`, "overdue"},
	{"payments", "payment", `DELETE FROM payment WHERE state = 'open'`, "placed"},
	{"money", "payment", `UPDATE log SET amount = amount + 1 WHERE order_id = $part
		AND kind = 'refund'`, "part"},
	{"money", "payment", `DELETE FROM log WHERE order_id = $overdue AND kind = 'refund'`, "overdue"},
	{"money", "order", `UPDATE refund SET state = 'failed' WHERE order_id = $whole
		AND number = 1`, "whole"},
	{"late", "payment", `UPDATE refund SET state = 'refused' WHERE order_id = $twice`, "twice"},
	{"late", "payment", `DELETE FROM refund WHERE order_id = $overdue`, "overdue"},
	{"late", "payment", `UPDATE payment SET state = 'closed' WHERE order_id = $first`, "first"},
	{"attempts", "payment", `UPDATE attempt SET returned = returned - 1
		WHERE order_id = $part`, "part"},
	{"attempts", "payment", `UPDATE attempt SET captured = captured + 1
		WHERE order_id = $first`, "first"},
	{"refunding", "payment", `UPDATE payment SET refunding = refunding - 1
		WHERE order_id = $running`, "running"},
	{"sent-back", "payment", `UPDATE refund SET state = 'open' WHERE order_id = $overdue`, "overdue"},
	{"sent-back", "payment", `UPDATE log SET refund = 'x' WHERE kind = 'refund'
		AND order_id = $overdue`, "overdue"},
	{"refunds", "order", `UPDATE refund SET money = money - 1, balance = balance + 1
		WHERE order_id = $part AND number = 1`, "part"},
	{"refunds", "payment", `DELETE FROM refund WHERE order_id = $running`, "running"},
	{"refunds", "order", `DELETE FROM refund WHERE order_id = $part AND number = 2`, "part"},
	{"refunds", "order", `UPDATE refund SET state = 'done' WHERE order_id = $running`, "running"},
	{"gateway-steps", "payment", `UPDATE refund SET state = 'done'
		WHERE order_id = $running`, "running"},
	{"gateway-steps", "order", `UPDATE steps SET state = 'asked' WHERE order_id = $part
		AND name = 'payment.collect'`, "part"},
	{"refund-steps", "order", `UPDATE steps SET state = 'asked' WHERE order_id = $whole
		AND name = 'goods.return' AND occurrence = 2`, "whole"},
	{"refund-steps", "order", `DELETE FROM steps WHERE order_id = $running
		AND occurrence = 1`, "running"},
	{"refund-sums", "order", `UPDATE orders SET refunded = refunded - 1 WHERE id = $part`, "part"},
	{"refund-sums", "order", `UPDATE refund SET lines = '[]' WHERE order_id = $running`, "running"},
	{"refund-lines", "order", `UPDATE orders SET lines = replace(lines, '"refunded":1',
		'"refunded":2') WHERE id = $running`, "running"},
	{"balance-back", "wallet", `UPDATE entry SET amount = amount + 1 WHERE kind = 'refund'
		AND order_id = $whole AND occurrence = 1`, "whole"},
	{"balance-back", "wallet", `UPDATE entry SET occurrence = 7 WHERE kind = 'refund'
		AND order_id = $whole AND occurrence = 2`, "whole"},
	{"points", "wallet", `DELETE FROM entry WHERE kind = 'grant' AND order_id = $course`, "course"},
	{"points", "order", `UPDATE orders SET points = points + 1 WHERE id = $first`, "first"},
	{"points-back", "wallet", `UPDATE entry SET amount = amount + 1 WHERE kind = 'revoke'
		AND order_id = $part AND occurrence = 1`, "part"},
	{"points-back", "wallet", `DELETE FROM entry WHERE kind = 'revoke' AND order_id = $part`, "part"},
	{"returned", "goods", `UPDATE hold SET lines = replace(lines, '"returned":2', '"returned":1')
		WHERE order_id = $part`, "part"},
	{"returned", "order", `DELETE FROM refund WHERE order_id = $short`, "short"},
	{"hold-ledger", "goods", `DELETE FROM ledger WHERE kind = 'return' AND cause = $part`, "part"},
	{"coupons-back", "coupon", `UPDATE coupon SET order_id = $whole, occurrence = 0
		WHERE order_id IS NULL`, "whole"},
	{"enrolled", "learning", `DELETE FROM enrolment`, "course"},
	{"enrolled", "learning", `UPDATE enrolment SET order_id = $placed`, "placed"},
	{"enrolled", "learning", `UPDATE enrolment SET units = 2`, "course"},
	{"seats", "learning", `UPDATE course SET enrolled = enrolled + 1`, ""},
	{"shipments", "shipping", `DELETE FROM shipment WHERE order_id = $first`, "first"},
	{"shipments", "shipping", `UPDATE shipment SET order_id = $overdue
		WHERE order_id = $first`, "overdue"},
	{"shipped", "shipping", `UPDATE shipment SET lines = replace(lines, '"quantity":1',
		'"quantity":2') WHERE order_id = $first`, "first"},
	{"shipped", "shipping", `UPDATE shipment SET lines = replace(lines, '"sku":"S"', '"sku":"A"')
		WHERE order_id = $first`, "first"},
	{"shipped", "shipping", `UPDATE shipment SET lines = replace(lines, '"quantity":1',
		'"quantity":1,"unsent":1') WHERE order_id = $first`, "first"},
	{"gateway-work", "payment", `UPDATE _effect SET state = 'closed' WHERE id GLOB 'rfd-*'
		AND state = 'open'`, "running"},
	{"effects", "payment", `UPDATE _effect SET next_try = next_try + 4000000000000
		WHERE id GLOB 'rfd-*' AND state = 'open'`, ""},
	{"releases", "payment", `UPDATE payment SET state = 'closing', release_at = 1
		WHERE order_id = $placed`, "placed"},
	{"restocked", "order", `UPDATE refund SET lines = replace(lines, '"recalled":1',
		'"recalled":0') WHERE order_id = $part`, "part"},
	{"pay-journal", "journal", `DELETE FROM entry WHERE type = 'payment.late'
		AND order_id = $twice`, "twice"},
	{"refund-journal", "journal", `UPDATE entry SET type = 'order.refund-denied'
		WHERE type = 'order.refunded' AND order_id = $part`, "part"},
	{"gateway-pays", "sandbox", `UPDATE trade SET amount = amount + 1
		WHERE out_trade_no IN (SELECT out_trade_no FROM trade ORDER BY paid, n LIMIT 1)`, "whole"},
	{"gateway-pays", "sandbox", `UPDATE trade SET paid = 0 WHERE paid > 0`, "course"},
	{"gateway-pays", "sandbox", `UPDATE trade SET out_trade_no = out_trade_no || 'x'`, ""},
	{"gateway-refunds", "sandbox", `DELETE FROM refund`, "part"},
	{"gateway-refunds", "sandbox", `UPDATE refund SET amount = amount - 1`, "whole"},
}

// What the gateway is about to tell is not missed yet.
func TestAuditWaitsForTheGatewaysNews(t *testing.T) {
	dir, orders := moneyBooks(t)
	attempt := attemptID(orders["placed"], 0)
	change(t, audit.File(dir, "payment"), fmt.Sprintf(`INSERT INTO attempt (id, order_id, provider,
		product, amount, currency, state, opened_at, expires_at)
		SELECT '%s', order_id, 'alipay', 'page', amount, currency, 'open', 1, 2 FROM payment
		WHERE order_id = '%s'`, attempt, orders["placed"]))
	change(t, sandboxFile(dir), fmt.Sprintf(`INSERT INTO trade (n, out_trade_no, status, amount,
		subject, passback, notify_url, return_url, created, expires, paid)
		VALUES (99999, '%s', 'TRADE_SUCCESS', 5199, '', '', '', '', 1, 2, %d)`, attempt,
		testStart.UnixNano()))
	for _, test := range []struct {
		file, news string
		ok         bool
	}{
		{sandboxFile(dir), `DELETE FROM notify`, false},
		{sandboxFile(dir), `INSERT INTO notify (id, trade, url, fields, forge, next_at)
			VALUES (1, 99999, '', '{}', '', 5)`, false}, // nothing asks about it
		{audit.File(dir, "payment"), `UPDATE attempt SET next_query = 7 WHERE id = '` + attempt + `'`,
			true},
		{sandboxFile(dir), `DELETE FROM notify`, true},
		// Half an hour later it should have been asked.
		{audit.File(dir, "payment"), `UPDATE _actor SET now = now + 1800000000000`, false},
		{sandboxFile(dir), `INSERT INTO notify (id, trade, url, fields, forge, next_at)
			VALUES (1, 99999, '', '{}', '', 5)`, false},
		// One that is closed is asked once more when its time is over.
		{audit.File(dir, "payment"), `UPDATE attempt SET state = 'closed', next_query =
			(SELECT now + 1 FROM _actor) WHERE id = '` + attempt + `'`, true},
		// It was paid after what is seen of the payment actor.
		{audit.File(dir, "payment"), fmt.Sprintf(`UPDATE attempt SET next_query = 0 WHERE id = '%s';
			UPDATE _actor SET now = %d`, attempt, testStart.UnixNano()-1), true},
	} {
		change(t, test.file, test.news)
		r, err := audit.Run(t.Context(), audit.Options{Dirs: []string{dir}})
		if err != nil || r.OK != test.ok || slices.ContainsFunc(r.Deviations,
			func(d audit.Deviation) bool { return d.Order != orders["placed"] }) {
			t.Errorf("%s: %v: %+v", test.news, err, r)
		}
	}
}
