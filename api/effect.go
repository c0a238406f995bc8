package api

// EffectType is a row of the table of effects: work for the world outside.
type EffectType struct {
	// Actor begins it, and workers of that Name do it.
	Actor, Name string
	Description string
	// Work and Outcome are empty values of what the worker gets and answers; an
	// Outcome of nil says nothing.
	Work, Outcome any
}

// EffectCartRemove has what was ordered leave the cart.
const EffectCartRemove = "cart-remove"

// EffectTypes is the table of all effects.
func EffectTypes() []EffectType {
	return []EffectType{
		{"order", EffectCartRemove, "What was ordered leaves the cart.", RemoveFromCart{}, nil},
		{"payment", EffectPayOpen, "A trade begins at a gateway.", GatewayCall{}, Opened{}},
		{"payment", EffectPayQuery, "A gateway is asked what became of a trade.", GatewayCall{},
			Trade{}},
		{"payment", EffectPayClose, "A gateway closes a trade.", GatewayCall{}, Trade{}},
		{"journal", EffectWebhook, "An event goes to an endpoint of others.", WebhookTry{},
			WebhookOutcome{}},
		{"payment", EffectPayRefund, "A gateway sends money back.", GatewayCall{}, RefundOutcome{}},
	}
}
