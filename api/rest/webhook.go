package rest

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"ordo/actors/journal/webhook"
	"ordo/api"
)

// webhookRoutes are row P8.
func (s *Server) webhookRoutes() {
	route(s, s.op("list-webhooks", "GET /admin/v1/webhooks", admins,
		"Endpoints that get the shop's events"), s.listWebhooks)
	route(s, s.op("create-webhook", "POST /admin/v1/webhooks", admins,
		"Make an endpoint; its secret is shown once"), s.createWebhook)
	route(s, s.op("get-webhook", "GET /admin/v1/webhooks/{id}", admins, "An endpoint"),
		s.getWebhook)
	route(s, s.op("change-webhook", "PUT /admin/v1/webhooks/{id}", admins,
		"Set what an endpoint is; enable or disable it"), s.changeWebhook)
	route(s, s.op("delete-webhook", "DELETE /admin/v1/webhooks/{id}", admins,
		"Delete an endpoint and its log"), s.deleteWebhook)
	route(s, s.op("rotate-webhook", "POST /admin/v1/webhooks/{id}/rotate", admins,
		"Make a new secret; the old one signs as well for a day"), s.rotateWebhook)
	route(s, s.op("test-webhook", "POST /admin/v1/webhooks/{id}/test", admins,
		"Send a webhook.test, in one try"), s.testWebhook)
	route(s, s.op("replay-webhook", "POST /admin/v1/webhooks/{id}/replay", admins,
		"Send the events since a time that the endpoint has not got"), s.replayWebhook)
	route(s, s.op("list-deliveries", "GET /admin/v1/webhooks/{id}/deliveries", admins,
		"Deliveries to an endpoint, newest first"), s.listDeliveries)
	route(s, s.op("get-delivery", "GET /admin/v1/webhooks/{id}/deliveries/{delivery}", admins,
		"A delivery with its tries and what is sent"), s.getDelivery)
	route(s, s.op("replay-delivery", "POST /admin/v1/webhooks/{id}/deliveries/{delivery}/replay",
		admins, "Send a delivery again"), s.replayDelivery)
}

// webhookSecretSize is how many random bytes a secret has.
const webhookSecretSize = 32

// newWebhookSecret mints a secret.
func newWebhookSecret() string {
	key := make([]byte, webhookSecretSize)
	_, _ = rand.Read(key) // it never fails
	return api.WebhookSecret(key)
}

// webhookMade is an endpoint with its new secret.
type webhookMade struct {
	api.Webhook
	// Secret is missing in the answer to a repeat.
	Secret string `json:"secret,omitempty" doc:"Signs deliveries; it is not shown again."`
}

// WebhookFields are what an admin says of an endpoint; embed it in an input.
type WebhookFields struct {
	// URL is where events are posted to, Types which; none for all.
	URL         string   `json:"url" minLength:"1" maxLength:"2048"`
	Description string   `json:"description,omitempty" maxLength:"200"`
	Types       []string `json:"types,omitempty" maxItems:"50" doc:"Types of events; none for all."`
}

func (s *Server) listWebhooks(ctx context.Context, _ *none) (
	*answer[passed[api.WebhookList]], error) {
	return pass[api.WebhookList](ctx, s, &api.ListWebhooks{})
}

func (s *Server) getWebhook(ctx context.Context, in *ByID) (
	*answer[passed[api.Webhook]], error) {
	return pass[api.Webhook](ctx, s, &api.GetWebhook{ID: in.ID})
}

type createWebhookInput struct {
	Idempotent
	Body WebhookFields
}

// createWebhook answers a repeat with the endpoint that is there, without its
// secret: it was shown, or is at this moment to who has asked at the same time.
func (s *Server) createWebhook(ctx context.Context, in *createWebhookInput) (
	*created[webhookMade], error) {
	if err := webhook.CheckURL(in.Body.URL, s.WebhookInsecure); err != nil {
		return nil, err
	}
	id := in.messageID(ctx, "webhook")
	m := &api.CreateWebhook{ID: api.DeriveID(api.PrefixWebhook, time.Unix(0, 0), id),
		URL: in.Body.URL, Description: in.Body.Description, Types: in.Body.Types,
		Secret: newWebhookSecret()}
	made, err := s.madeWebhook(ctx, in, m.ID)
	if made != nil || err != nil {
		return made, err
	}
	made = &created[webhookMade]{Status: http.StatusCreated}
	if err = s.do(ctx, id, m, &made.Body.Webhook); err == nil {
		made.Body.Secret = m.Secret
		return made, nil
	}
	if is(err, api.CodeIDReused) { // each repeat has a secret of its own
		if made, asked := s.madeWebhook(ctx, in, m.ID); made != nil || asked != nil {
			return made, asked
		}
	}
	return nil, err
}

// madeWebhook is the endpoint that was made under the same key; nil for none.
func (s *Server) madeWebhook(ctx context.Context, in *createWebhookInput, id string) (
	*created[webhookMade], error) {
	if in.Key == "" {
		return nil, nil
	}
	made := &created[webhookMade]{Status: http.StatusCreated}
	switch err := s.Edge.Ask(ctx, &api.GetWebhook{ID: id}, &made.Body.Webhook); {
	case is(err, api.CodeNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !sameWebhook(&made.Body.Webhook, &in.Body):
		return nil, api.Refuse(api.CodeIDReused, "this key was used before with another body")
	}
	return made, nil
}

func sameWebhook(w *api.Webhook, f *WebhookFields) bool {
	return w.URL == f.URL && w.Description == f.Description && slices.Equal(w.Types, f.Types)
}

type changeWebhookInput struct {
	ByID
	Idempotent
	Body struct {
		WebhookFields
		Enabled bool `json:"enabled"`
	}
}

func (s *Server) changeWebhook(ctx context.Context, in *changeWebhookInput) (
	*answer[api.Webhook], error) {
	if err := webhook.CheckURL(in.Body.URL, s.WebhookInsecure); err != nil {
		return nil, err
	}
	return s.webhookAfter(ctx, in.messageID(ctx, "webhook"), &api.ChangeWebhook{ID: in.ID,
		URL: in.Body.URL, Description: in.Body.Description, Types: in.Body.Types,
		Enabled: in.Body.Enabled})
}

// webhookAfter has something done to an endpoint and answers what it is then.
func (s *Server) webhookAfter(ctx context.Context, id string, m api.Message) (
	*answer[api.Webhook], error) {
	var w api.Webhook
	if err := s.do(ctx, id, m, &w); err != nil {
		return nil, err
	}
	return &answer[api.Webhook]{w}, nil
}

func (s *Server) deleteWebhook(ctx context.Context, in *ByID) (*none, error) {
	return nil, s.do(ctx, api.NewID("webhook"), &api.DeleteWebhook{ID: in.ID}, nil)
}

// rotateWebhook can't be repeated: each call makes a secret.
func (s *Server) rotateWebhook(ctx context.Context, in *ByID) (*answer[webhookMade], error) {
	m := &api.RotateWebhook{ID: in.ID, Secret: newWebhookSecret()}
	made := webhookMade{Secret: m.Secret}
	if err := s.do(ctx, api.NewID("webhook"), m, &made.Webhook); err != nil {
		return nil, err
	}
	return &answer[webhookMade]{made}, nil
}

type testWebhookInput struct {
	ByID
	Idempotent
}

func (s *Server) testWebhook(ctx context.Context, in *testWebhookInput) (
	*answer[api.Delivery], error) {
	var d api.Delivery
	if err := s.do(ctx, in.messageID(ctx, "webhook"), &api.TestWebhook{ID: in.ID}, &d); err != nil {
		return nil, err
	}
	return &answer[api.Delivery]{d}, nil
}

type replayWebhookInput struct {
	ByID
	Idempotent
	Body struct {
		Since api.Time `json:"since" doc:"Events from then on."`
		All   bool     `json:"all,omitempty" doc:"Those that were delivered as well."`
	}
}

func (s *Server) replayWebhook(ctx context.Context, in *replayWebhookInput) (
	*answer[api.Webhook], error) {
	return s.webhookAfter(ctx, in.messageID(ctx, "webhook"),
		&api.ReplayWebhook{ID: in.ID, Since: cmp.Or(in.Body.Since, -1), All: in.Body.All})
}

type deliveriesInput struct {
	PageQuery
	ByID
	State string `query:"state" enum:"pending,sending,delivered,failed,skipped"`
	Order string `query:"order" maxLength:"64"`
	Type  string `query:"type" maxLength:"64" doc:"For example order.placed."`
}

func (s *Server) listDeliveries(ctx context.Context, in *deliveriesInput) (
	*answer[passed[api.DeliveryList]], error) {
	return pass[api.DeliveryList](ctx, s, &api.ListDeliveries{Page: in.page(), Webhook: in.ID,
		State: in.State, Order: in.Order, Type: in.Type})
}

// DeliveryPath names a delivery of an endpoint; embed it in an input.
type DeliveryPath struct {
	ByID
	// Delivery is its webhook-id.
	Delivery string `path:"delivery" minLength:"1" maxLength:"64"`
}

func (s *Server) getDelivery(ctx context.Context, in *DeliveryPath) (
	*answer[passed[api.DeliveryDetail]], error) {
	return pass[api.DeliveryDetail](ctx, s, &api.GetDelivery{Webhook: in.ID, ID: in.Delivery})
}

type replayDeliveryInput struct {
	DeliveryPath
	Idempotent
}

func (s *Server) replayDelivery(ctx context.Context, in *replayDeliveryInput) (
	*answer[api.Webhook], error) {
	return s.webhookAfter(ctx, in.messageID(ctx, "webhook"),
		&api.ReplayWebhook{ID: in.ID, Delivery: in.Delivery})
}
