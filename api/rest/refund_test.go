package rest_test

import (
	"testing"

	"ordo/api"
)

// ACCEPT Y9 U4 P7
func TestRefundRoutes(t *testing.T) {
	s := newShop(t, withAlipay)
	ann, bob := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	o, _ := ann.paidOrder(3)
	path := "/v1/orders/" + o.ID + "/refunds"
	one := object{"lines": []object{{"line": 0, "quantity": 1}}, "reason": "late"}
	bob.call("POST", path, one).want(404)
	bob.call("GET", path, nil).want(404)
	ann.call("POST", path, object{"lines": []object{{"line": 0, "quantity": 4}}}).
		refused(409, api.CodeRefundTooMuch)
	ann.call("POST", path, object{"lines": []object{{"line": 1, "quantity": 1}}}).
		refused(422, api.CodeInvalid)
	asked := decode[api.Refund](ann.call("POST", path, one, "Idempotency-Key", "k").want(201))
	again := decode[api.Refund](ann.call("POST", path, one, "Idempotency-Key", "k").want(201))
	if asked.State != api.RefundAsked || again.ID != asked.ID || asked.Amount != gbp(1000) {
		t.Errorf("asked %+v, again %+v", asked, again)
	}
	admin := "/admin/v1/refunds/" + asked.ID
	ann.call("POST", admin+"/grant", nil).want(403)
	granted := decode[api.Refund](s.admin("POST", admin+"/grant", object{"note": "ok"}).want(200))
	if granted.State != api.RefundRunning || granted.Note != "ok" {
		t.Errorf("granted %+v", granted)
	}
	s.admin("POST", admin+"/deny", nil).refused(409, api.CodeNotRefundable)
	next := decode[api.Refund](ann.call("POST", path, one).want(201))
	denied := decode[api.Refund](s.admin("POST", "/admin/v1/refunds/"+next.ID+"/deny", nil).want(200))
	if denied.State != api.RefundDenied {
		t.Errorf("denied %+v", denied)
	}
	s.admin("POST", "/admin"+path, object{}).refused(422, api.CodeInvalid)
	rest := decode[api.Refund](s.admin("POST", "/admin"+path, object{"reason": "torn"}).want(201))
	if rest.Amount != gbp(2000) || rest.State != api.RefundRunning {
		t.Errorf("the rest is %+v", rest)
	}
	list := decode[api.RefundList](ann.call("GET", path, nil).want(200))
	if len(list.Refunds) != 3 || list.Refunds[0].ID != rest.ID {
		t.Errorf("refunds are %+v", list)
	}
	if all := decode[api.RefundList](s.admin("GET", "/admin/v1/refunds?state=denied", nil).
		want(200)); len(all.Refunds) != 1 {
		t.Errorf("denied refunds are %+v", all)
	}
	s.admin("GET", "/admin/v1/refunds/rfd_none", nil).want(404)
}

// ACCEPT L3 U4
func TestShippingRoutes(t *testing.T) {
	s := newShop(t, withAlipay)
	ann, bob := s.shopper("ann@example.com"), s.shopper("bob@example.com")
	o, _ := ann.paidOrder(1)
	path := "/v1/orders/" + o.ID
	created := decode[api.Shipment](ann.until(func() *reply {
		return ann.call("GET", path+"/shipment", nil)
	}, 200))
	if created.State != api.ShipmentCreated || created.Address.City != "London" {
		t.Errorf("shipment is %+v", created)
	}
	bob.call("GET", path+"/shipment", nil).want(404)
	ann.call("POST", path+"/receive", nil).refused(409, api.CodeNotShippable)
	ship := object{"carrier": "Royal Mail", "tracking": "RM1"}
	ann.call("POST", "/admin"+path+"/ship", ship).want(403)
	s.admin("POST", "/admin"+path+"/ship", object{"carrier": "", "tracking": "x"}).want(422)
	shipped := decode[api.Shipment](s.admin("POST", "/admin"+path+"/ship", ship).want(200))
	if shipped.State != api.ShipmentShipped || shipped.Tracking != "RM1" {
		t.Errorf("shipped is %+v", shipped)
	}
	bob.call("POST", path+"/receive", nil).want(404)
	if r := decode[api.Shipment](ann.call("POST", path+"/receive", nil).want(200)); r.State !=
		api.ShipmentReceived {
		t.Errorf("received is %+v", r)
	}
	list := decode[api.ShipmentList](s.admin("GET", "/admin/v1/shipments?state=received", nil).
		want(200))
	if len(list.Shipments) != 1 {
		t.Errorf("shipments are %+v", list)
	}
	list = decode[api.ShipmentList](s.admin("GET", "/admin/v1/shipments?unsent=true", nil).want(200))
	if len(list.Shipments) != 0 {
		t.Errorf("unsent are %+v", list)
	}
}
