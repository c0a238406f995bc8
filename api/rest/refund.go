package rest

import (
	"context"
	"net/http"
	"time"

	"ordo/api"
)

func (s *Server) refundRoutes() {
	route(s, s.op("ask-refund", "POST /v1/orders/{id}/refunds", users,
		"Ask for a refund of a paid order, whole or by line and quantity"), s.askRefund)
	route(s, s.op("list-refunds", "GET /v1/orders/{id}/refunds", users,
		"The refunds of an order, newest first"), s.listRefunds)
	route(s, s.op("refund-order", "POST /admin/v1/orders/{id}/refunds", support,
		"Refund a paid order, whole or by line and quantity"), s.refundOrder)
	route(s, s.op("list-all-refunds", "GET /admin/v1/refunds", support,
		"Refunds of all users, newest first"), s.listAllRefunds)
	route(s, s.op("get-any-refund", "GET /admin/v1/refunds/{id}", support, "Anybody's refund"),
		s.getAnyRefund)
	route(s, s.op("grant-refund", "POST /admin/v1/refunds/{id}/grant", support,
		"Grant a refund that was asked for"), s.grantRefund)
	route(s, s.op("deny-refund", "POST /admin/v1/refunds/{id}/deny", support,
		"Deny a refund that was asked for"), s.denyRefund)
}

// refundWish says what is to be refunded.
type refundWish struct {
	Lines  []backLine `json:"lines,omitempty" maxItems:"2000" doc:"None for all that is left."`
	Reason string     `json:"reason,omitempty" maxLength:"500"`
	StockWish
}

// StockWish is support's word on what becomes of refunded units.
type StockWish struct {
	Keep bool `json:"keep,omitempty" doc:"Does not go back into the stock."`
	Back bool `json:"returned,omitempty" doc:"Shipped units have come back and go into the stock."`
}

type backLine struct {
	Line     int    `json:"line" minimum:"0" doc:"The order's lines count from 0."`
	SKU      string `json:"sku,omitempty" maxLength:"64" doc:"Checked when given."`
	Quantity int64  `json:"quantity" minimum:"1" maximum:"1000000"`
	StockWish
}

type refundInput struct {
	Idempotent
	ID   string `path:"id" maxLength:"64"`
	Body *refundWish
}

// message is the request as the order actor takes it. Its id is derived from
// the idempotency key, so that a repeat is the same refund.
func (in *refundInput) message(ctx context.Context) (id string, m *api.AskRefund) {
	id = in.messageID(ctx, "refund")
	m = &api.AskRefund{Order: in.ID, By: callerOf(ctx).User,
		ID: api.DeriveID(api.PrefixRefund, refundEpoch, id)}
	if in.Key == "" {
		m.ID = api.NewID(api.PrefixRefund)
	}
	if in.Body == nil {
		return id, m
	}
	m.Reason, m.Keep, m.Returned = in.Body.Reason, in.Body.Keep, in.Body.Back
	for _, l := range in.Body.Lines {
		m.Lines = append(m.Lines, api.RefundLine{Line: l.Line, SKU: l.SKU, Quantity: l.Quantity,
			Keep: l.Keep, Returned: l.Back})
	}
	return id, m
}

// refundEpoch is the time in ids that are derived from an idempotency key,
// which has none of its own.
var refundEpoch = time.Unix(1_700_000_000, 0)

// askRefund is row Y9 for the owner.
func (s *Server) askRefund(ctx context.Context, in *refundInput) (*created[api.Refund], error) {
	id, m := in.message(ctx)
	m.User, m.Keep, m.Returned = m.By, false, false // the shop decides what it sells again
	for i := range m.Lines {
		m.Lines[i].Keep, m.Lines[i].Returned = false, false
	}
	return s.refund(ctx, id, m)
}

// refundOrder is row Y9 for support.
func (s *Server) refundOrder(ctx context.Context, in *refundInput) (*created[api.Refund], error) {
	id, m := in.message(ctx)
	return s.refund(ctx, id, m)
}

func (s *Server) refund(ctx context.Context, id string, m *api.AskRefund) (
	*created[api.Refund], error) {
	if err := checkOrderID(m.Order); err != nil {
		return nil, err
	}
	out := &created[api.Refund]{Status: http.StatusCreated}
	return out, s.do(ctx, id, m, &out.Body)
}

type refundsInput struct {
	PageQuery
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) listRefunds(ctx context.Context, in *refundsInput) (
	*answer[passed[api.RefundList]], error) {
	user := callerOf(ctx).User
	if _, err := s.lookUp(ctx, in.ID, user); err != nil {
		return nil, err
	}
	return pass[api.RefundList](ctx, s,
		&api.ListRefunds{Page: in.page(), Order: in.ID, User: user})
}

type allRefundsInput struct {
	PageQuery
	Order string `query:"order" maxLength:"64"`
	User  string `query:"user" maxLength:"64"`
	State string `query:"state" enum:"asked,denied,running,done,failed"`
}

func (s *Server) listAllRefunds(ctx context.Context, in *allRefundsInput) (
	*answer[api.RefundList], error) {
	out := &answer[api.RefundList]{}
	err := s.Edge.Ask(ctx, &api.ListRefunds{Page: in.page(), Order: in.Order, User: in.User,
		State: in.State}, &out.Body)
	for i := range out.Body.Refunds {
		shownRefund(ctx, &out.Body.Refunds[i])
	}
	return out, err
}

// shownRefund leaves out of what was written about a refund how to reach somebody,
// but for admins.
func shownRefund(ctx context.Context, r *api.Refund) {
	if callerOf(ctx).Role != api.RoleAdmin {
		r.Reason, r.Note = api.MaskText(r.Reason), api.MaskText(r.Note)
	}
}

func (s *Server) getAnyRefund(ctx context.Context, in *ByID) (
	*answer[api.Refund], error) {
	out := &answer[api.Refund]{}
	err := s.Edge.Ask(ctx, &api.GetRefund{ID: in.ID}, &out.Body)
	shownRefund(ctx, &out.Body)
	return out, err
}

type decideInput struct {
	ByID
	Body *struct {
		Note string `json:"note,omitempty" maxLength:"500"`
		StockWish
	}
}

func (s *Server) grantRefund(ctx context.Context, in *decideInput) (*answer[api.Refund], error) {
	return s.decideRefund(ctx, in, true)
}

func (s *Server) denyRefund(ctx context.Context, in *decideInput) (*answer[api.Refund], error) {
	return s.decideRefund(ctx, in, false)
}

func (s *Server) decideRefund(ctx context.Context, in *decideInput, grant bool) (
	*answer[api.Refund], error) {
	m := &api.DecideRefund{Refund: in.ID, Grant: grant, By: callerOf(ctx).User}
	if in.Body != nil {
		m.Note, m.Keep, m.Returned = in.Body.Note, in.Body.Keep, in.Body.Back
	}
	out := &answer[api.Refund]{}
	err := s.do(ctx, api.NewID("decide"), m, &out.Body)
	shownRefund(ctx, &out.Body)
	return out, err
}
