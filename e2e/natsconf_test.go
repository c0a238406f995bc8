package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/actors"
	"ordo/api"
	"ordo/api/rest"
	"ordo/bus"
)

// confUsers are the users of nats.conf beside those of the actors.
var confUsers = []string{"sys", "setup", "operator", "api"}

// confServer runs a NATS server from nats.conf, on a free port and a directory
// of the test's own.
func confServer(t *testing.T) *server.Server {
	t.Helper()
	for _, user := range append(bus.ActorNames(), confUsers...) {
		t.Setenv("ORDO_NATS_"+strings.ToUpper(user), confPassword(user))
	}
	opts, err := server.ProcessConfigFile("../nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if opts.MaxPayload != bus.MaxPayload || opts.SyncInterval != time.Second {
		t.Errorf("max_payload %d, sync_interval %s", opts.MaxPayload, opts.SyncInterval)
	}
	opts.Port, opts.StoreDir, opts.NoSigs = server.RANDOM_PORT, t.TempDir(), true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

func confPassword(user string) string { return "pw" + user }

func confURL(s *server.Server, user string) string {
	return "nats://" + user + ":" + confPassword(user) + "@" + s.Addr().String()
}

// ACCEPT M6 P1
// With the users of nats.conf each actor and the API run as processes of their
// own, and none of them is refused anything that it asks of NATS.
func TestConfRightsAreEnough(t *testing.T) {
	s := confServer(t)
	if p := start(t, "setup", "--nats", confURL(s, "setup")); p.wait(30*time.Second) != 0 {
		t.Fatalf("ordo setup:\n%s", p.log)
	}
	addr := crashFreeAddr(t)
	g := serveGateway(t, addr)
	processes, dirs := map[string]*process{}, []string{}
	for _, name := range bus.ActorNames() {
		dirs = append(dirs, t.TempDir())
		processes[name] = serve(t, dirs[len(dirs)-1], append([]string{"--nats", confURL(s, name),
			"--only", name, "--no-api", "--expiry", "5s", "--pay-margin", "1s", "--pay-query", "1s",
			"--webhook-insecure"},
			g.flags...)...)
	}
	edge := crashServe(t, addr, t.TempDir(), append([]string{"--nats", confURL(s, "api"), "--only",
		"none", "--webhook-insecure"}, g.flags...)...)
	edge.nats = confURL(s, "setup")
	processes["api"] = edge
	confOrders(edge)
	confPayments(edge, g)
	confLetter(edge)
	confTransactions(edge)
	confWebhook(edge)
	confLooks(t, s)
	// Its senders ask for what it has, and it asks them for what it lacks.
	processes["goods"].kill()
	processes["goods"] = serve(t, dirs[1], "--nats", confURL(s, "goods"), "--only", "goods",
		"--no-api")
	if o := edge.shopper().buy(edge.onSale(100, 1), 1); o.State != api.OrderPlaced {
		t.Errorf("order is %s: %v", o.State, o.Reason)
	}
	for name, p := range processes {
		if code := p.stop(); code != 0 {
			t.Errorf("%s: exit code %d", name, code)
		}
		for _, word := range []string{"ermissions", "uthorization"} {
			if line, found := p.log.find(word); found {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
	audit(t, dirs...)
}

// ACCEPT M6
// NATS does not look at reply subjects, so whoever may ask JetStream anything can have
// its answers written anywhere. A message that is put into a mailbox so, under the
// identity of an actor, is not handled, and a lease that is written over is renewed.
func TestConfAnswersToOthers(t *testing.T) {
	s := confServer(t)
	if p := start(t, "setup", "--nats", confURL(s, "setup")); p.wait(time.Minute) != 0 {
		t.Fatalf("ordo setup:\n%s", p.log)
	}
	data := t.TempDir()
	p := serve(t, data, "--nats", confURL(s, "order"), "--only", "order", "--no-api")
	ask := func(user, subject, answer string) {
		t.Helper()
		nc, err := nats.Connect(confURL(s, user), nats.CustomInboxPrefix("_INBOX."+user))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		forged := nats.NewMsg("$KV.session.step-result")
		forged.Header.Set(nats.MsgIdHdr, "payment.0.FORGED.order.0.1")
		forged.Header.Set(bus.HeaderAfter, "1000000")
		forged.Data = []byte(`{"order":"ord_1"}`)
		if user == "api" {
			if _, err := nc.RequestMsg(forged, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.PublishRequest(subject, answer, nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	ask("api", "$JS.API.DIRECT.GET.KV_session.$KV.session.step-result",
		bus.MailboxSubject("order", "step-result"))
	db := crashDB(t, data, "order")
	eventually(t, "the forged message is skipped", func() bool {
		return crashCount(t, db, `SELECT count(*) FROM _incident WHERE kind = 'foreign'`) == 1
	})
	if n := crashCount(t, db, `SELECT (SELECT count(*) FROM _in) + (SELECT count(*) FROM _dead)`); n != 0 {
		t.Error("the forged message left something behind")
	}
	p.nats = confURL(s, "setup")
	js, err := jetstream.New(p.connect())
	if err != nil {
		t.Fatal(err)
	}
	owner := func() (held actors.LeaseEntry, revision uint64) {
		kv, err := js.KeyValue(t.Context(), bus.BucketOwner)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(t.Context(), bus.Address("order"))
		if err != nil || json.Unmarshal(e.Value(), &held) != nil {
			t.Fatal(err)
		}
		return held, e.Revision()
	}
	was, before := owner()
	ask("operator", "$JS.API.STREAM.INFO.GOODS", "$KV.owner."+bus.Address("order"))
	eventually(t, "the lease is renewed over what is none", func() bool {
		held, revision := owner()
		return revision > before+1 && held.Instance == was.Instance
	})
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.log.tail(20))
	}
}

// confOrders takes what there is of an order's life over all processes: a
// guest's cart, coupon, balance, expiry, cancel, and a session that ends.
func confOrders(p *process) {
	p.t.Helper()
	sku, ann := p.onSale(1000, 9), p.shopper()
	var made struct {
		Guest, Token string
		User         struct{ ID string }
	}
	p.as("").must("POST", "/v1/guests", nil, &made)
	guest := http.Header{"Ordo-Guest": {made.Guest}}
	for _, r := range [][2]string{{"/v1/cart/lines", `{"sku":"` + sku + `","quantity":2}`},
		{"/v1/register", `{"email":"bob@example.com","password":"pass-word"}`}} {
		resp, data, err := p.as("").send(guest, "POST", r[0], []byte(r[1]))
		if err != nil || resp.StatusCode/100 != 2 {
			p.t.Fatalf("%s: %v %s", r[0], err, data)
		}
		made.Token = decode[struct{ Token string }](p.t, data).Token
	}
	bob := &shopper{client: p.as(made.Token), p: p}
	cart := bob.cart()
	if n := cart.quantities()[sku]; n != 2 {
		p.t.Errorf("%d units were merged into the cart, not 2", n)
	}
	bob.must("POST", "/v1/logout", nil, nil)
	bob.problem("GET", "/v1/cart", nil, http.StatusUnauthorized, api.CodeUnauthorized)

	ann.give(gbp(300))
	coupon := ann.coupon(200, 0)
	before := ann.holdings(sku)
	ann.add(sku, 2)
	o := ann.submit(ann.checkout("", 0).using(coupon, 200, 300))
	if o.State != api.OrderPlaced || o.Due != gbp(1500) {
		p.t.Fatalf("order is %s, due %s: %v", o.State, o.Due, o.Reason)
	}
	ann.await(o.ID, api.OrderCancelled)
	ann.must("POST", "/v1/orders/"+ann.buy(sku, 1).ID+"/cancel", nil, nil)
	ann.restored(sku, before)
	eventually(p.t, "two events", func() bool { return len(p.journal(o.ID)) == 2 })
}

// confPayments takes what there is of a payment's life over all processes: a
// code and a link, one paid by its notice and one found paid when it expires,
// a course, a shipment that arrives, a refund, late money and a forged notice.
func confPayments(p *process, g *gateway) {
	p.t.Helper()
	sku, course, ann := p.onSale(1000, 9), p.courseOf(3), p.shopper()
	o, _ := ann.bought(g.till, course, 1)
	p.refundAll(o.ID)
	ann.add(sku, 2)
	ann.add(course, 1)
	o = ann.submit(ann.checkout("", 0))
	code := ann.opens(o.ID, api.ProductQR)
	quiet := ann.opens(ann.buy(sku, 1).ID, api.ProductPage)
	g.takes(&code)
	g.takes(&quiet, "delay_ms", later)
	for _, a := range []api.Attempt{code, quiet} {
		ann.await(a.Order, api.OrderPaid)
		p.fulfilled(a.Order)
	}
	p.admin().must("POST", "/admin/v1/orders/"+o.ID+"/ship",
		map[string]string{"carrier": "Royal Mail", "tracking": "RM1"}, nil)
	ann.must("POST", "/v1/orders/"+o.ID+"/receive", nil, nil)
	late := ann.opens(ann.buy(sku, 1).ID, api.ProductPage)
	ann.must("POST", "/v1/orders/"+late.Order+"/cancel", nil, nil)
	ann.sentBack(g.till, &late, g.takes(&late))
	g.steer("notify", "out_trade_no", code.ID, "forge", "signature")
	if p.forged() != 1 || ann.place(course) != api.EnrolmentEnrolled {
		p.t.Errorf("%d forged notices, the place is %s", p.forged(), ann.place(course))
	}
	p.settles(g.till)
}

// confLetter has a message become a dead letter, and sends it off.
func confLetter(p *process) {
	p.t.Helper()
	m := nats.NewMsg(bus.MailboxSubject("goods", "reserve"))
	m.Header.Set(nats.MsgIdHdr, "not-from-an-actor")
	m.Data = []byte(badBody)
	if _, err := p.connect().RequestMsg(m, 5*time.Second); err != nil {
		p.t.Fatal(err)
	}
	var list api.LetterList
	eventually(p.t, "a dead letter", func() bool {
		p.admin().must("GET", "/admin/v1/dead?actor=goods", nil, &list)
		return len(list.Letters) == 1
	})
	p.admin().must("POST", fmt.Sprintf("/admin/v1/dead/goods/%d/dismiss", list.Letters[0].N),
		map[string]string{"reason": "a test"}, nil)
}

// confTransactions looks at an order over all processes, and has it retried and
// settled.
func confTransactions(p *process) {
	p.t.Helper()
	o := p.shopper().buy(p.onSale(1000, 9), 1)
	var life rest.Timeline
	eventually(p.t, "an order with its messages", func() bool {
		p.admin().must("GET", "/admin/v1/transactions/"+o.ID, nil, &life)
		return len(life.Messages) >= 5 && len(life.Notes) == 0
	})
	var look rest.Overview
	p.admin().must("GET", "/admin/v1/overview", nil, &look)
	for _, a := range look.Actors {
		if !a.Ready || a.Lag < 0 {
			p.t.Errorf("actor %+v", a)
		}
	}
	if len(look.Notes) > 0 || look.Orders.States[api.OrderPlaced] == 0 {
		p.t.Errorf("overview %+v", look)
	}
	for _, what := range []string{"retry", "settle"} {
		p.admin().must("POST", "/admin/v1/transactions/"+o.ID+"/"+what,
			map[string]string{"reason": "a test"}, nil)
	}
}

// confWebhook has an event sent to an endpoint that fails once.
func confWebhook(p *process) {
	p.t.Helper()
	e := newEndpoint(p.t, nil)
	e.answer(http.StatusServiceUnavailable)
	p.hooks(e, api.EventOrderPlaced) // others come of orders before
	o := p.shopper().buy(p.onSale(100, 1), 1)
	eventually(p.t, "two tries", func() bool { return len(e.of(o.ID)) == 2 })
	p.admin().must("POST", "/admin/v1/webhooks/"+e.hook.ID+"/rotate", nil, nil)
	p.admin().must("DELETE", "/admin/v1/webhooks/"+e.hook.ID, nil, nil)
}

// Nobody can pretend to be another actor, read its mailbox or change streams.
func TestConfRightsAreNotMore(t *testing.T) {
	s := confServer(t)
	for _, c := range []struct{ user, subject string }{
		{"api", "ordo.goods.0.reserve"},
		{"api", "ordo.wallet.0.debit"},
		{"api", "ordo.order.0.step-result"},
		{"api", "ordo.order.0.remake"},
		{"api", "ordo.order.0.expire"},
		{"api", "$KV.owner.order.0"},
		{"goods", "ordo.wallet.0.credit"},
		{"goods", "ordo.order.0.submit"},
		{"goods", "$KV.session.x"},
		{"coupon", "ordo.goods.0.receive-stock"},
		{"journal", "ordo.order.0.step-result"},
		{"journal", "ordo.event.order.paid.x"},
		{"order", "ordo.wallet.0.credit"},
		{"api", "ordo.payment.0.collect"},
		{"api", "ordo.payment.0.close"},
		{"api", "ordo.payment.0.refund"},
		{"api", "ordo.learning.0.enrol"},
		{"api", "ordo.shipping.0.create"},
		{"api", "ordo.wallet.0.grant"},
		{"api", "ordo.effect.payment.pay-refund"},
		{"api", "ordo.q.journal.webhook-call"},
		{"api", "ordo.journal.0.send-webhooks"},
		{"order", "ordo.q.journal.webhook-call"},
		{"learning", "ordo.wallet.0.grant"},
		{"learning", "ordo.effect.payment.pay-refund"},
		{"shipping", "ordo.payment.0.refund"},
		{"payment", "ordo.wallet.0.refund"},
		{"payment", "ordo.order.0.ask-refund"},
		{"wallet", "ordo.payment.0.trade"},
		{"wallet", "$JS.API.CONSUMER.CREATE.USER.x"},
		{"order", "$JS.API.STREAM.DELETE.GOODS"},
		{"user", "$JS.API.STREAM.PURGE.USER"},
		{"operator", "ordo.order.0.cancel"},
		{"operator", "ordo.q.order.order"},
		{"operator", "ordo.q.user.addresses"},
		{"operator", "ordo.q.goods.dead"},
		{"operator", "ordo.q.journal.webhook-call"},
		{"operator", "$JS.API.STREAM.MSG.GET.ORDER"},
		{"operator", "$JS.API.STREAM.MSG.GET.EVENTS"},
		{"operator", "$JS.API.DIRECT.GET.USER"},
		{"operator", "$JS.API.DIRECT.GET.KV_cart.$KV.cart.usr_1"},
		{"operator", "$JS.API.CONSUMER.CREATE.GOODS.x"},
		{"operator", "$JS.API.CONSUMER.MSG.NEXT.TIMERS.x"},
		{"operator", "$JS.API.CONSUMER.DELETE.GOODS.goods-0"},
		{"operator", "$JS.ACK.GOODS.goods-0.1.1.1.1.1"},
	} {
		refused := make(chan error, 1)
		nc, err := nats.Connect(confURL(s, c.user), nats.ErrorHandler(
			func(_ *nats.Conn, _ *nats.Subscription, err error) {
				select {
				case refused <- err:
				default:
				}
			}))
		if err != nil {
			t.Fatalf("%s: %v", c.user, err)
		}
		if err := errors.Join(nc.Publish(c.subject, nil), nc.Flush()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-refused:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", c.user, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s may publish on %s", c.user, c.subject)
		}
		nc.Close()
	}
	for _, user := range []string{"goods", "nobody"} {
		if nc, err := nats.Connect("nats://" + user + ":wrong@" + s.Addr().String()); err == nil {
			nc.Close()
			t.Errorf("%s came in with a wrong password", user)
		}
	}
}
