package rest

import (
	"context"

	"ordo/api"
)

func (s *Server) couponRoutes() {
	route(s, s.op("list-coupons", "GET /v1/coupons", users, "Coupons, newest first"),
		s.listCoupons)
}

func (s *Server) listCoupons(ctx context.Context, in *struct{ PageQuery }) (
	*answer[passed[api.CouponList]], error) {
	return pass[api.CouponList](ctx, s,
		&api.ListCoupons{Page: in.page(), User: callerOf(ctx).User})
}
