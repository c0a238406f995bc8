package rest

import (
	"context"

	"ordo/api"
)

func (s *Server) walletRoutes() {
	route(s, s.op("get-wallet", "GET /v1/wallet", users, "Balance and points"), s.getWallet)
	route(s, s.op("list-wallet-entries", "GET /v1/wallet/entries", users,
		"The ledger of the balance or the points, newest first"), s.listWalletEntries)
}

// getWallet is row U3.
func (s *Server) getWallet(ctx context.Context, _ *none) (*answer[passed[api.Wallet]], error) {
	return pass[api.Wallet](ctx, s, s.walletOf(callerOf(ctx).User))
}

func (s *Server) walletOf(user string) *api.GetWallet {
	return &api.GetWallet{User: user, Currency: s.Currency}
}

type entriesInput struct {
	PageQuery
	Unit string `query:"unit" pattern:"^[A-Z]{3,8}$" doc:"POINT or a currency."`
}

func (s *Server) listWalletEntries(ctx context.Context, in *entriesInput) (
	*answer[passed[api.WalletEntryList]], error) {
	if in.Unit == "" {
		in.Unit = s.Currency
	}
	return pass[api.WalletEntryList](ctx, s,
		&api.ListWalletEntries{Page: in.page(), User: callerOf(ctx).User, Unit: in.Unit})
}
