package rest_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
)

// ACCEPT M5 U4: support sees of a dead letter nothing about persons, an admin all but
// what lets somebody in.
func TestLettersAreMasked(t *testing.T) {
	s := newShop(t)
	support := s.userWith(object{"email": "sam@example.com", "role": api.RoleSupport})
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	if _, err := s.js.Publish(t.Context(), bus.MailboxSubject("journal", "create-webhook"),
		[]byte(`{"id":7,"description":"of Ann","url":"https://h.example/","secret":"`+secret+`"}`),
		jetstream.WithMsgID("odd-1")); err != nil {
		t.Fatal(err)
	}
	s.until(func() *reply {
		r := s.admin("GET", "/admin/v1/dead?actor=journal", nil).want(200)
		if len(decode[api.LetterList](r).Letters) == 0 {
			r.status = 0
		}
		return r
	}, 200)
	for _, path := range []string{"/admin/v1/dead?actor=journal", "/admin/v1/dead/journal/1"} {
		for who, body := range map[string]string{
			"support": string(support.call("GET", path, nil).want(200).body),
			"admin":   string(s.admin("GET", path, nil).want(200).body),
		} {
			if strings.Contains(body, secret) || !strings.Contains(body, "create-webhook") {
				t.Errorf("%s of %s: %s", path, who, body)
			}
			if seen := strings.Contains(body, "of Ann"); seen != (who == "admin") {
				t.Errorf("%s of %s: %s", path, who, body)
			}
		}
	}
}

// ACCEPT Y9 U4: support sees what was written about a refund, but not how to reach who
// wrote it.
func TestRefundTextsAreMasked(t *testing.T) {
	s := newShop(t, withAlipay)
	support := s.userWith(object{"email": "sam@example.com", "role": api.RoleSupport})
	ann := s.shopper("ann@example.com")
	o, _ := ann.paidOrder(1)
	const wish = "too small; ring 07700 900123 or write to ann@example.org"
	asked := decode[api.Refund](ann.call("POST", "/v1/orders/"+o.ID+"/refunds",
		object{"reason": wish}).want(201))
	one := "/admin/v1/refunds/" + asked.ID
	got := []api.Refund{decode[api.Refund](support.call("GET", one, nil).want(200)),
		decode[api.RefundList](support.call("GET", "/admin/v1/refunds?state=asked", nil).
			want(200)).Refunds[0],
		decode[api.Refund](support.call("POST", one+"/grant", object{"note": "told +44 7700 900123"}).
			want(200))}
	for _, r := range got {
		if r.Reason != "too small; ring ••• or write to •••" {
			t.Errorf("support sees %q", r.Reason)
		}
	}
	if note := got[2].Note; note != "told •••" {
		t.Errorf("support sees the note %q", note)
	}
	if r := decode[api.Refund](s.admin("GET", one, nil).want(200)); r.Reason != wish ||
		r.Note != "told +44 7700 900123" {
		t.Errorf("an admin sees %+v", r)
	}
}
