package stripe_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v83/webhook"

	"ordo/actors/payment/stripe"
	"ordo/actors/payment/stripe/stripetest"
	"ordo/api"
)

// signed is the header of an event that Stripe's own library has signed.
func signed(body []byte, key string, when time.Time) http.Header {
	p := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: key,
		Timestamp: when})
	return http.Header{stripe.SignatureHeader: {p.Header}}
}

// sign is a signature's text.
func sign(body []byte, key string, when time.Time) string {
	return hex.EncodeToString(webhook.ComputeSignature(when, body, key))
}

// ACCEPT Y10 Y3
func TestEventsAreRead(t *testing.T) {
	s, c := account(t)
	for i, each := range []struct {
		kind         string
		pay, late    bool
		settled, ok  bool
		expired      bool
		paid, isOver bool
	}{
		{kind: stripe.EventCompleted, pay: true, paid: true},
		{kind: stripe.EventCompleted, pay: true, late: true},
		{kind: stripe.EventAsyncPaid, pay: true, late: true, settled: true, ok: true, paid: true},
		{kind: stripe.EventAsyncFailed, pay: true, late: true, settled: true, isOver: true},
		{kind: stripe.EventExpired, expired: true, isOver: true},
	} {
		id := opened(t, c, checkout(fmt.Sprint("pay_", i), 500, "JPY")).ID
		if each.pay {
			if err := s.Pay(id, each.late); err != nil {
				t.Fatal(err)
			}
		}
		if each.settled {
			s.Settle(id, each.ok)
		}
		if each.expired {
			if err := c.Expire(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		body := s.Event(each.kind, id, nil)
		e, err := c.ParseEvent(signed(body, secret, at), body)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != each.kind || e.At != api.TimeOf(at) || e.Live || e.Account != "" ||
			!strings.HasPrefix(e.ID, "evt_") || e.Session == nil {
			t.Errorf("%+v", e)
			continue
		}
		if got := e.Session; got.ID != id || got.Paid() != each.paid || got.Over() != each.isOver ||
			got.Amount.String() != "500 JPY" || each.paid != (got.PaidAt == api.TimeOf(at)) {
			t.Errorf("%s: %+v", each.kind, got)
		}
	}
}

// ACCEPT Y10
func TestOtherEventsSayNothing(t *testing.T) {
	_, c := account(t)
	for _, body := range []string{
		`{"object":"event","type":"charge.refunded","data":{"object":{"object":"charge"}}}`,
		`{"object":"event","type":"invoice.paid","data":{}}`,
		`{"object":"event","type":"a.new.one","data":{"object":"checkout.session"}}`,
	} {
		e, err := c.ParseEvent(signed([]byte(body), secret, at), []byte(body))
		if err != nil || e.Session != nil {
			t.Errorf("%s: %+v, %v", body, e, err)
		}
	}
}

// ACCEPT Y10 Y3
func TestSignatures(t *testing.T) {
	body := []byte(`{"object":"event","id":"evt_1","type":"ping","data":{}}`)
	stamp := func(when time.Time) string { return fmt.Sprintf("t=%d", when.Unix()) }
	good := sign(body, secret, at)
	old := at.Add(-stripe.Tolerance)
	for name, each := range map[string]struct {
		header string
		ok     bool
	}{
		"as it comes":        {stamp(at) + ",v1=" + good, true},
		"rolled, new first":  {stamp(at) + ",v1=" + good + ",v1=" + sign(body, "whsec_old", at), true},
		"rolled, old first":  {stamp(at) + ",v1=" + sign(body, "whsec_old", at) + ",v1=" + good, true},
		"with a test scheme": {stamp(at) + ",v1=" + good + ",v0=" + good, true},
		"behind the time":    {"v1=" + good + "," + stamp(at), true},
		"after some rubbish": {stamp(at) + ",v1=zz,v1=,x,v1=" + good, true},
		"as old as may be":   {stamp(old) + ",v1=" + sign(body, secret, old), true},
		"too old": {stamp(old.Add(-time.Second)) + ",v1=" +
			sign(body, secret, old.Add(-time.Second)), false},
		"too new": {stamp(at.Add(301*time.Second)) + ",v1=" +
			sign(body, secret, at.Add(301*time.Second)), false},
		"another time":        {stamp(at.Add(time.Second)) + ",v1=" + good, false},
		"another secret":      {stamp(at) + ",v1=" + sign(body, "whsec_x", at), false},
		"another body":        {stamp(at) + ",v1=" + sign([]byte("{}"), secret, at), false},
		"the old scheme":      {stamp(at) + ",v0=" + good, false},
		"a scheme to come":    {stamp(at) + ",v2=" + good, false},
		"cut short":           {stamp(at) + ",v1=" + good[:32], false},
		"no time":             {"v1=" + good, false},
		"no signature":        {stamp(at), false},
		"two times":           {stamp(at) + "," + stamp(at) + ",v1=" + good, false},
		"two different times": {stamp(old) + "," + stamp(at) + ",v1=" + good, false},
		"a signed number":     {fmt.Sprintf("t=+%d,v1=%s", at.Unix(), good), false},
		"no number":           {"t=now,v1=" + good, false},
		"a huge number":       {"t=99999999999999999999,v1=" + good, false},
		"empty":               {"", false},
		"endless":             {stamp(at) + ",v1=" + good + strings.Repeat(",v1="+good, 100), false},
	} {
		h := http.Header{stripe.SignatureHeader: {each.header}}
		_, err := stripe.ParseEvent(secret, h, body, at)
		if each.ok != (err == nil) || err != nil && !errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	line := stamp(at) + ",v1=" + good
	for name, h := range map[string]http.Header{"none": {}, "two": {
		stripe.SignatureHeader: {line, line}}} {
		if _, err := stripe.ParseEvent(secret, h, body, at); !errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%s headers: %v", name, err)
		}
	}
	if _, err := stripe.ParseEvent("", signed(body, "", at), body, at); !errors.Is(err,
		stripe.ErrSignature) {
		t.Errorf("without a secret: %v", err)
	}
}

// ACCEPT Y10 Y3
func TestAnAlteredEventIsRefused(t *testing.T) {
	s, c := account(t)
	id := opened(t, c, checkout("pay_1", 1999, "GBP")).ID
	body := s.Event(stripe.EventCompleted, id, map[string]any{"payment_status": "paid",
		"payment_intent": "pi_1"})
	header := signed(body, secret, at)
	if e, err := c.ParseEvent(header, body); err != nil || !e.Session.Paid() {
		t.Fatalf("%+v, %v", e, err)
	}
	for i := 0; i < len(body); i += 7 {
		altered := append([]byte(nil), body...)
		altered[i] ^= 1
		if _, err := c.ParseEvent(header, altered); !errors.Is(err, stripe.ErrSignature) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for _, altered := range [][]byte{nil, append([]byte(" "), body...), append(body, '\n')} {
		if _, err := c.ParseEvent(header, altered); !errors.Is(err, stripe.ErrSignature) {
			t.Errorf("%d bytes: %v", len(altered), err)
		}
	}
}

// ACCEPT Y10 Y3
func TestEventsOutOfForm(t *testing.T) {
	s := stripetest.New(func() time.Time { return at })
	t.Cleanup(s.Close)
	c := newClient(t, s.URL)
	id := opened(t, c, checkout("pay_1", 1999, "GBP")).ID
	bodies := map[string][]byte{
		"nothing":    nil,
		"HTML":       []byte("<html>"),
		"no event":   []byte(`{"object":"v2.core.event","type":"ping"}`),
		"no type":    []byte(`{"object":"event"}`),
		"no session": []byte(`{"object":"event","type":"checkout.session.completed","data":{}}`),
		"over size":  []byte(`{"object":"event","type":"` + strings.Repeat("x", stripe.MaxEvent) + `"}`),
	}
	for name, change := range map[string]map[string]any{
		"another object": {"object": "charge"},
		"paid by nobody": {"payment_status": "paid"},
		"a fraction":     {"amount_total": 19.99},
		"below zero":     {"amount_total": -1},
		"too much":       {"amount_total": int64(1e15)},
		"text":           {"amount_total": "1999"},
		"no currency":    {"currency": ""},
		"an odd state":   {"status": "half"},
		"two attempts":   {"metadata": map[string]string{"ordo_attempt": "pay_2"}},
	} {
		bodies[name] = s.Event(stripe.EventCompleted, id, change)
	}
	for name, body := range bodies {
		e, err := c.ParseEvent(signed(body, secret, at), body)
		if !errors.Is(err, stripe.ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	// What others sell in the same account is not the shop's.
	for name, change := range map[string]map[string]any{
		"no reference":   {"client_reference_id": nil, "metadata": nil, "currency": nil},
		"a subscription": {"mode": "subscription", "amount_total": nil},
	} {
		body := s.Event(stripe.EventCompleted, id, change)
		if e, err := c.ParseEvent(signed(body, secret, at), body); err != nil ||
			e.Session.Attempt != "" {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}
