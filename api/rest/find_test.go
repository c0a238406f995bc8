package rest_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// ACCEPT M7 U4: support finds an order, a user or a SKU by whatever number or
// address somebody wrote.
func TestFind(t *testing.T) {
	s := newShop(t, withAlipay)
	ann := s.shopper("ann@example.com")
	o, a := ann.paidOrder(2)
	refund := decode[api.Refund](s.admin("POST", "/admin/v1/orders/"+o.ID+"/refunds",
		object{"reason": "torn"}).want(201))
	order, user := rest.FoundThing{Kind: "order", ID: o.ID}, rest.FoundThing{Kind: "user", ID: ann.id}
	for word, want := range map[string][]rest.FoundThing{
		o.ID: {order}, " " + o.ID + " ": {order}, a.ID: {order}, o.TradeNo: {order},
		refund.ID: {order}, ann.id: {user}, "Ann@Example.com": {user},
		"mug": {{Kind: "sku", ID: "mug"}}, "nobody@example.com": nil, "ord_1": nil, "x": nil,
		api.NewID(api.PrefixPayment): nil, strings.Repeat("x", 254): nil, "_": nil,
	} {
		path := "/admin/v1/find?q=" + url.QueryEscape(word)
		got := decode[rest.Found](s.admin("GET", path, nil).want(200))
		if !slices.Equal(got.Items, want) {
			t.Errorf("%q finds %+v, want %+v", word, got.Items, want)
		}
	}
	s.admin("GET", "/admin/v1/find?q="+strings.Repeat("x", 255), nil).refused(422, api.CodeInvalid)
	s.admin("GET", "/admin/v1/find", nil).refused(422, api.CodeInvalid)
	ann.call("GET", "/admin/v1/find?q=mug", nil).refused(403, api.CodeForbidden)
	s.stop("payment")
	s.admin("GET", "/admin/v1/find?q=x", nil).want(503)
}
