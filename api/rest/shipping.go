package rest

import (
	"context"

	"ordo/api"
)

func (s *Server) shippingRoutes() {
	route(s, s.op("get-shipment", "GET /v1/orders/{id}/shipment", users,
		"What is on its way for an order"), s.getShipment)
	route(s, s.op("receive-shipment", "POST /v1/orders/{id}/receive", users,
		"Say that the goods have come"), s.receiveShipment)
	route(s, s.op("list-shipments", "GET /admin/v1/shipments", support,
		"Shipments in the order of their making"), s.listShipments)
	route(s, s.op("ship-order", "POST /admin/v1/orders/{id}/ship", support,
		"Say that a shipment is with the carrier"), s.shipOrder)
}

func (s *Server) getShipment(ctx context.Context, in *ByID) (
	*answer[passed[api.Shipment]], error) {
	return pass[api.Shipment](ctx, s, &api.GetShipment{Order: in.ID, User: callerOf(ctx).User})
}

// receiveShipment is row L3 for the owner.
func (s *Server) receiveShipment(ctx context.Context, in *ByID) (*answer[api.Shipment], error) {
	out := &answer[api.Shipment]{}
	return out, s.do(ctx, api.NewID("receive"),
		&api.Receive{Order: in.ID, User: callerOf(ctx).User}, &out.Body)
}

type shipmentsInput struct {
	PageQuery
	State  string `query:"state" enum:"created,shipped,received,cancelled"`
	Unsent bool   `query:"unsent" doc:"Only those with units that are still to be sent by hand."`
}

func (s *Server) listShipments(ctx context.Context, in *shipmentsInput) (
	*answer[passed[api.ShipmentList]], error) {
	return pass[api.ShipmentList](ctx, s, &api.ListShipments{Page: in.page(), State: in.State,
		Unsent: in.Unsent})
}

type shipInput struct {
	ByID
	Body struct {
		Carrier  string `json:"carrier" minLength:"1" maxLength:"100"`
		Tracking string `json:"tracking" minLength:"1" maxLength:"100"`
	}
}

// shipOrder is row L3 for the shop.
func (s *Server) shipOrder(ctx context.Context, in *shipInput) (*answer[api.Shipment], error) {
	out := &answer[api.Shipment]{}
	return out, s.do(ctx, api.NewID("ship"), &api.Ship{Order: in.ID, Carrier: in.Body.Carrier,
		Tracking: in.Body.Tracking, By: callerOf(ctx).User}, &out.Body)
}
