package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT P3
func tryOpenAPI(t *testing.T, p *process) {
	resp, data, err := p.as("").send(nil, "GET", "/openapi.json", nil)
	if err != nil || resp.StatusCode != http.StatusOK ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openapi+json") {
		t.Fatalf("openapi.json: %v %v", resp, err)
	}
	doc := decode[struct {
		OpenAPI    string
		Info       struct{ Title, Version, Description string }
		Components struct{ Schemas map[string]any }
		Paths      map[string]map[string]struct {
			OperationID string
			Summary     string
			Responses   map[string]any
			Tags        []string
		}
	}](t, data)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version == "" ||
		doc.Info.Description == "" {
		t.Errorf("openapi %s, info %+v", doc.OpenAPI, doc.Info)
	}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Tags) == 0 ||
				op.Responses["default"] == nil || len(op.Responses) < 2 {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			ids[op.OperationID] = true
		}
	}
	for _, path := range []string{"/v1/orders", "/v1/checkouts", "/v1/cart", "/v1/login",
		"/v1/products", "/admin/v1/products:import"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not documented", path)
		}
	}
	refs := regexp.MustCompile(`"\$ref":"([^"]*)"`)
	for _, ref := range refs.FindAllStringSubmatch(string(data), -1) {
		name, ok := strings.CutPrefix(ref[1], "#/components/schemas/")
		if !ok || doc.Components.Schemas[name] == nil {
			t.Errorf("reference to %s", ref[1])
		}
	}
}

// links are what a page or a style sheet has a browser load.
var links = regexp.MustCompile(`(?:src|href|content)\s*=\s*["']([^"']+)["']|url\(\s*["']?([^"')]+)`)

// ACCEPT P3
func tryDocs(t *testing.T, p *process) {
	visitor := p.as("")
	resp, page, err := visitor.send(nil, "GET", "/docs", nil)
	if err != nil || resp.StatusCode != http.StatusOK ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("docs: %v %v", resp, err)
	}
	if !strings.Contains(string(page), "openapi.json") {
		t.Errorf("the page does not name openapi.json")
	}
	base := resp.Request.URL
	scripts := 0
	for todo := []string{string(page)}; len(todo) > 0; todo = todo[1:] {
		for _, m := range links.FindAllStringSubmatch(todo[0], -1) {
			link := m[1] + m[2]
			if strings.HasPrefix(link, "data:") || !strings.ContainsAny(link, "./") {
				continue
			}
			to, err := base.Parse(link)
			if err != nil || to.Host != base.Host {
				t.Errorf("the page loads %s", link)
				continue
			}
			status, data, err := visitor.call("GET", to.RequestURI(), nil)
			if err != nil || status != http.StatusOK || len(data) == 0 {
				t.Errorf("%s: %d %v", link, status, err)
			}
			if strings.HasSuffix(to.Path, ".js") {
				scripts++
			}
			if strings.HasSuffix(to.Path, ".css") {
				todo = append(todo, string(data))
			}
		}
	}
	if scripts == 0 {
		t.Errorf("the page has no scripts:\n%s", page)
	}
}

// ask sends a request to NATS as its command line tool does.
func ask[T any](t testing.TB, nc *nats.Conn, subject string, body any) (v T) {
	t.Helper()
	m, err := nc.Request(subject, api.Raw(body), 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	var failed struct{ Error *jetstream.APIError }
	if err := json.Unmarshal(m.Data, &failed); err != nil || failed.Error != nil {
		t.Fatalf("%s: %v %v", subject, err, failed.Error)
	}
	return decode[T](t, m.Data)
}

// streamList answers $JS.API.STREAM.LIST.
type streamList struct {
	Total   int
	Streams []jetstream.StreamInfo
}

// ACCEPT P5
func tryStreams(t *testing.T, p *process) {
	nc := p.connect()
	list := ask[streamList](t, nc, "$JS.API.STREAM.LIST", struct{}{})
	if list.Total != len(list.Streams) {
		t.Fatalf("%d of %d streams", len(list.Streams), list.Total)
	}
	found := map[string]string{}
	durables := 0
	for _, s := range list.Streams {
		found[s.Config.Name] = s.Config.Description
		consumers := ask[struct {
			Total     int
			Consumers []jetstream.ConsumerInfo
		}](t, nc, "$JS.API.CONSUMER.LIST."+s.Config.Name, struct{}{})
		for _, c := range consumers.Consumers {
			// Watchers of a bucket are ephemeral; nobody can name them.
			if c.Config.Durable == "" {
				continue
			}
			durables++
			if c.Config.Description == "" {
				t.Errorf("consumer %s of %s has no description", c.Name, s.Config.Name)
			}
		}
	}
	if durables < len(bus.ActorNames()) {
		t.Errorf("%d consumers", durables)
	}
	want := map[string]string{}
	for _, s := range bus.Streams() {
		want[s.Name] = s.Description
	}
	for _, b := range bus.Buckets() {
		want["KV_"+b.Name] = b.Description
	}
	for name, description := range want {
		if description == "" || found[name] != description {
			t.Errorf("stream %s: %q, want %q", name, found[name], description)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("streams that are in no table: %v", found)
	}
}

// ACCEPT P5
func tryServices(t *testing.T, p *process) {
	nc := p.connect()
	inbox, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("$SRV.INFO", inbox.Subject, nil); err != nil {
		t.Fatal(err)
	}
	found := map[string]micro.Info{}
	for len(found) < len(bus.ActorNames()) {
		m, err := inbox.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatalf("%d services: %v", len(found), err)
		}
		info := decode[micro.Info](t, m.Data)
		found[info.Name] = info
	}
	for _, actor := range bus.ActorNames() {
		info := found["ordo-"+actor]
		if info.Version == "" || info.Description == "" || len(info.Endpoints) < 3 {
			t.Errorf("service of %s: %+v", actor, info)
		}
		for _, e := range info.Endpoints {
			if e.Metadata["description"] == "" || e.Subject != bus.QuerySubject(actor, e.Name) {
				t.Errorf("endpoint of %s: %+v", actor, e)
			}
		}
	}
	sku := p.onSale(100, 3)
	got := ask[api.SKUList](t, nc, "ordo.q.goods.skus", api.GetSKUs{IDs: []string{sku}})
	if len(got.SKUs) != 1 || got.SKUs[0].Stock != 3 {
		t.Errorf("asked by hand: %+v", got)
	}
	stats := ask[micro.Stats](t, nc, "$SRV.STATS.ordo-goods", struct{}{})
	asked, local := 0, 0
	for _, e := range stats.Endpoints {
		asked += e.NumRequests
		local += decode[struct {
			N int `json:"in_process_requests"`
		}](t, e.Data).N
	}
	if asked == 0 || local == 0 { // the API of this process asks without NATS
		t.Errorf("statistics: %+v", stats)
	}
}

// kept is a message as $JS.API.STREAM.MSG.GET answers it.
type kept struct {
	Message struct {
		Subject string
		Seq     uint64
		Hdrs    []byte
		Data    []byte
	}
}

// ACCEPT P5 M3
func tryMessages(t *testing.T, p *process) {
	s := p.shopper()
	sku := p.onSale(1000, 10)
	s.give(gbp(100))
	o := s.submit(s.checkout(sku, 2).using("", 0, 100))
	s.must("POST", "/v1/orders/"+o.ID+"/cancel", nil, nil)
	nc := p.connect()
	eventually(t, "the cancellation", func() bool {
		return slices.Contains(p.journal(o.ID), api.EventOrderCancelled)
	})
	for stream, wants := range map[string]string{
		"ORDER": "ordo.order.0.submit ordo.order.0.step-result ordo.order.0.cancel",
		"GOODS": "ordo.goods.0.reserve ordo.goods.0.release", "WALLET": "ordo.wallet.0.debit",
		"EVENTS": "ordo.event.order.placed." + o.ID + " ordo.event.order.cancelled." + o.ID} {
		for _, subject := range strings.Fields(wants) {
			if !messageAbout(t, nc, stream, subject, o.ID) {
				t.Errorf("%s has no %s about the order", stream, subject)
			}
		}
	}
}

// messageAbout looks through the messages of a subject for one about an order.
// All of them must be readable and say what they are.
func messageAbout(t *testing.T, nc *nats.Conn, stream, subject, order string) bool {
	t.Helper()
	found := false
	for seq := uint64(1); ; seq++ {
		m, err := nc.Request("$JS.API.STREAM.MSG.GET."+stream,
			fmt.Appendf(nil, `{"seq":%d,"next_by_subj":%q}`, seq, subject), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var got kept
		if err := json.Unmarshal(m.Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Message.Seq == 0 {
			return found
		}
		seq = got.Message.Seq
		id := regexp.MustCompile(`(?m)^Nats-Msg-Id: (\S+)\r$`).FindSubmatch(got.Message.Hdrs)
		var body map[string]any
		if err := json.Unmarshal(got.Message.Data, &body); err != nil || id == nil {
			t.Errorf("%s %d: %v, headers %q, body %s", subject, seq, err, got.Message.Hdrs,
				got.Message.Data)
		}
		found = found || body["order"] == order
	}
}
