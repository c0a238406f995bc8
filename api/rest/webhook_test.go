package rest_test

import (
	"sync"
	"testing"

	"ordo/api"
)

// ACCEPT P7 P8: those who ask at the same time under one key make one endpoint,
// and one of them gets its secret.
func TestWebhookIsMadeOnceForAKey(t *testing.T) {
	s := newShop(t)
	var answers [8]*reply
	var asked sync.WaitGroup
	for i := range answers {
		asked.Go(func() {
			answers[i] = s.admin("POST", "/admin/v1/webhooks",
				object{"url": "https://example.com/"}, "Idempotency-Key", "hook")
		})
	}
	asked.Wait()
	ids, secrets := map[string]bool{}, 0
	for _, r := range answers {
		made := decode[struct{ ID, Secret string }](r.want(201))
		ids[made.ID] = true
		if made.Secret != "" {
			secrets++
		}
	}
	list := decode[api.WebhookList](s.admin("GET", "/admin/v1/webhooks", nil).want(200))
	if secrets != 1 || len(list.Webhooks) != 1 || len(ids) != 1 || !ids[list.Webhooks[0].ID] {
		t.Errorf("made %v, %d secrets, webhooks %+v", ids, secrets, list)
	}
}
