package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ordo/api"
	"ordo/bus"
)

// messages are all commands and queries of the shop.
var (
	messages = []api.Message{
		&api.StepResult{},
		&api.IssueCoupons{}, &api.RedeemCoupon{}, &api.RestoreCoupon{},
		&api.PutProducts{}, &api.ReceiveStock{}, &api.AdjustStock{}, &api.ReserveStock{},
		&api.ReleaseStock{}, &api.SellStock{}, &api.ReturnStock{},
		&api.PutCourses{}, &api.ConfigureLearning{}, &api.Enrol{}, &api.Withdraw{},
		&api.SubmitOrder{}, &api.ExpireOrder{}, &api.CancelOrder{}, &api.ConfigureOrders{},
		&api.CollectPayment{}, &api.ClosePayment{}, &api.ReleasePayment{}, &api.OpenAttempt{},
		&api.NoteTrade{}, &api.NoteIncident{}, &api.NoteRefund{},
		&api.RefundPayment{}, &api.ConfigurePayments{},
		&api.AskRefund{}, &api.DecideRefund{}, &api.SettleOrder{}, &api.RemakeOrder{},
		&api.RetryOrder{},
		&api.CreateShipment{}, &api.CancelShipment{}, &api.RestoreShipment{}, &api.Ship{},
		&api.Receive{}, &api.ConfigureShipping{},
		&api.RegisterUser{}, &api.MakeUsers{}, &api.ChangePassword{}, &api.EndSession{},
		&api.SaveAddress{}, &api.DeleteAddress{},
		&api.Credit{}, &api.Debit{}, &api.ReturnDebit{}, &api.GrantPoints{}, &api.RevokePoints{},
		&api.RefundBalance{},
		&api.CreateWebhook{}, &api.ChangeWebhook{}, &api.DeleteWebhook{}, &api.RotateWebhook{},
		&api.TestWebhook{}, &api.ReplayWebhook{}, &api.SendWebhooks{},
	}
	queries = []api.Query{
		&api.ListCoupons{},
		&api.GetSKUs{}, &api.GetProduct{}, &api.ListProducts{}, &api.ListCategories{},
		&api.ListStockLedger{},
		&api.ListJournal{}, &api.ListWebhooks{}, &api.GetWebhook{}, &api.ListDeliveries{},
		&api.GetDelivery{}, &api.GetWebhookCall{},
		&api.ListCourses{}, &api.CheckSeats{}, &api.GetCourse{}, &api.ListEnrolments{},
		&api.GetOrder{}, &api.GetSubmission{}, &api.ListOrders{}, &api.GetSteps{},
		&api.ListTransactions{}, &api.GetTally{},
		&api.GetPayment{}, &api.GetAttempt{}, &api.ListPayments{}, &api.ListPaymentIncidents{},
		&api.ListPayLog{}, &api.FindTrade{},
		&api.GetRefund{}, &api.ListRefunds{},
		&api.GetShipment{}, &api.ListShipments{},
		&api.GetUser{}, &api.ListAddresses{}, &api.ListRevocations{},
		&api.GetWallet{}, &api.ListWalletEntries{},
	}
	// reserved are the names that the runtime gives to every actor.
	reserved = []string{api.EndpointResult, api.EndpointDead, api.EndpointStatus,
		api.EndpointEffects, api.EndpointKnown, api.VerbRetryDead, api.VerbDismissDead,
		api.VerbTick, api.VerbOutcome, api.VerbVoid}
)

// Every message has one receiver and one verb, of its own.
func TestRoutesAreDistinct(t *testing.T) {
	verbs, endpoints := map[api.Route]string{}, map[api.Route]string{}
	for _, m := range messages {
		checkRoute(t, verbs, m.Route(), fmt.Sprintf("%T", m))
	}
	for _, q := range queries {
		checkRoute(t, endpoints, q.Endpoint(), fmt.Sprintf("%T", q))
	}
}

func checkRoute(t *testing.T, seen map[api.Route]string, r api.Route, typ string) {
	t.Helper()
	if other, ok := seen[r]; ok {
		t.Errorf("%s and %s share %v", typ, other, r)
	}
	seen[r] = typ
	if !slices.Contains(bus.ActorNames(), r.Actor) {
		t.Errorf("%s goes to %q, which is no actor", typ, r.Actor)
	}
	if r.Verb == "" || strings.Trim(r.Verb, "abcdefghijklmnopqrstuvwxyz-") != "" {
		t.Errorf("%s has the verb %q", typ, r.Verb)
	}
	if slices.Contains(reserved, r.Verb) {
		t.Errorf("%s has the runtime's verb %q", typ, r.Verb)
	}
}

// The tables above miss no type, and no type depends on its value.
func TestRoutesAreComplete(t *testing.T) {
	known := map[string]bool{}
	for _, m := range messages {
		known[reflect.TypeOf(m).Elem().Name()+".Route"] = true
	}
	for _, q := range queries {
		known[reflect.TypeOf(q).Elem().Name()+".Endpoint"] = true
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "Route" && fn.Name.Name != "Endpoint" {
				continue
			}
			found++
			star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
			if !ok {
				t.Errorf("%s: %s has a value receiver", name, fn.Name.Name)
				continue
			}
			if typ := star.X.(*ast.Ident).Name; !known[typ+"."+fn.Name.Name] {
				t.Errorf("%s: %s.%s is not in this test's table", name, typ, fn.Name.Name)
			}
		}
	}
	if found != len(known) {
		t.Errorf("%d routes in the sources, %d in this test's table", found, len(known))
	}
}

// A message in JSON holds nothing that a reader would lose.
func TestMessagesReadBack(t *testing.T) {
	all := make([]any, 0, len(messages)+len(queries))
	for _, m := range messages {
		all = append(all, m)
	}
	for _, q := range queries {
		all = append(all, q)
	}
	for _, m := range all {
		again := reflect.New(reflect.TypeOf(m).Elem()).Interface()
		if err := json.Unmarshal(api.Raw(m), again); err != nil {
			t.Errorf("%T: %v", m, err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Errorf("%T: %+v came back as %+v", m, m, again)
		}
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{
		-1: api.DefaultPage, 0: api.DefaultPage, 1: 1, api.DefaultPage: api.DefaultPage,
		api.MaxPage - 1: api.MaxPage - 1, api.MaxPage: api.MaxPage, api.MaxPage + 1: api.MaxPage,
		1 << 62: api.MaxPage, -1 << 62: api.DefaultPage,
	} {
		if got := (api.Page{Limit: limit}).Size(); got != want {
			t.Errorf("limit %d: got %d, want %d", limit, got, want)
		}
	}
}

func TestAsError(t *testing.T) {
	refusal := api.Refuse(api.CodeOutOfStock, "%d left", 3)
	for _, err := range []error{refusal, fmt.Errorf("goods: %w", refusal),
		fmt.Errorf("a: %w", fmt.Errorf("b: %w", refusal)), errors.Join(errors.New("x"), refusal)} {
		if got := api.AsError(err); got != refusal {
			t.Errorf("%v: got %v, want the refusal", err, got)
		}
	}
	for _, err := range []error{nil, errors.New("disk full"), fmt.Errorf("goods: %v", refusal)} {
		if got := api.AsError(err); got != nil {
			t.Errorf("%v: got the refusal %v", err, got)
		}
	}
}

func TestErrorSaysWhatAndWhere(t *testing.T) {
	e := api.Refuse(api.CodeOutOfStock, "%d left", 3)
	if got, want := e.Error(), "out_of_stock: 3 left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	e = e.At("lines[2].quantity").With([]int{1, 2})
	if got, want := e.Error(), "out_of_stock: lines[2].quantity: 3 left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := `{"code":"out_of_stock","message":"3 left","place":"lines[2].quantity","data":[1,2]}`
	if got := string(api.Raw(e)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(api.Raw(api.Refuse(api.CodeBusy, "x"))),
		`{"code":"busy","message":"x"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRawOfWhatIsNoJSON(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "chan") {
			t.Errorf("got %v, want a panic that names the type", r)
		}
	}()
	api.Raw(make(chan int))
}

func TestAvailable(t *testing.T) {
	if got := (api.SKU{Stock: 7, Locked: 5}).Available(); got != 2 {
		t.Errorf("got %d, want 2", got)
	}
}

func TestTimeJSON(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		in   api.Time
		want string
	}{
		{api.TimeOf(at), `"2026-07-01T12:30:00Z"`},
		{api.TimeOf(at.Add(time.Nanosecond)), `"2026-07-01T12:30:00.000000001Z"`},
		{api.TimeOf(at.Add(250 * time.Millisecond)), `"2026-07-01T12:30:00.25Z"`},
		{api.TimeOf(at.In(time.FixedZone("", 7200))), `"2026-07-01T12:30:00Z"`},
		{-1, `"1969-12-31T23:59:59.999999999Z"`},
		{0, `null`},
		{api.TimeOf(time.Time{}), `null`},
	} {
		got := string(api.Raw(c.in))
		if got != c.want {
			t.Errorf("%d: got %s, want %s", c.in, got, c.want)
		}
		var again api.Time
		if err := json.Unmarshal([]byte(got), &again); err != nil || again != c.in {
			t.Errorf("%s reads as %d, %v, want %d", got, again, err, c.in)
		}
	}
}

func TestTimeReadsAnyOffset(t *testing.T) {
	want := api.TimeOf(time.Date(2026, 7, 1, 12, 30, 0, 0, time.UTC))
	for _, s := range []string{`"2026-07-01T12:30:00Z"`, `"2026-07-01T14:30:00+02:00"`,
		`"2026-06-30T23:30:00-13:00"`, `"2026-07-01T12:30:00.000000000Z"`} {
		var got api.Time
		if err := json.Unmarshal([]byte(s), &got); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", s, got, err, want)
		}
	}
	got := want
	if err := json.Unmarshal([]byte(`null`), &got); err != nil || got != 0 {
		t.Errorf("null: got %d, %v, want 0", got, err)
	}
}

func TestTimeBounds(t *testing.T) {
	for _, s := range []string{`"1678-01-01T00:00:00+23:59"`, `"2261-12-31T23:59:59.999999999-23:59"`} {
		var got api.Time
		if err := json.Unmarshal([]byte(s), &got); err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		var want time.Time
		if err := json.Unmarshal([]byte(s), &want); err != nil || !got.Std().Equal(want) {
			t.Errorf("%s: got %s, want %s, %v", s, got.Std(), want, err)
		}
	}
	for _, s := range []string{`"1677-12-31T23:59:59Z"`, `"2262-01-01T00:00:00Z"`,
		`"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59Z"`, `""`, `"now"`, `"2026-07-01"`,
		`"2026-07-01T12:30:00"`, `"2026-07-01 12:30:00Z"`, `"2026-02-30T00:00:00Z"`,
		`"2026-07-01T25:00:00Z"`, `1751373000`, `0`, `true`, `{}`, `[]`, `"null"`} {
		got := api.Time(42)
		if err := json.Unmarshal([]byte(s), &got); err == nil || got != 42 {
			t.Errorf("%s: got %d, %v, want an error and no change", s, got, err)
		}
	}
}

func TestTimeArithmetic(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 30, 0, 5, time.UTC)
	if got := api.TimeOf(at).Std(); !got.Equal(at) || got.Location() != time.UTC {
		t.Errorf("got %s, want %s", got, at)
	}
	if got := api.TimeOf(at).Add(time.Hour).Std(); !got.Equal(at.Add(time.Hour)) {
		t.Errorf("an hour later: got %s", got)
	}
	if !api.Time(0).Std().IsZero() {
		t.Errorf("never: got %s", api.Time(0).Std())
	}
}
