package web

import (
	"net/http"
	"net/url"

	"ordo/api"
	"ordo/api/web/page"
)

// purse is the page of balance and points, with the ledger of one of them.
type purse struct {
	api.Wallet
	Unit    string
	Entries []api.WalletEntry
	Coupons []api.Coupon
	Next    string
}

// showWallet is row U3.
func (v *visit) showWallet() error {
	p := purse{Unit: v.s.Currency}
	if v.r.URL.Query().Get("unit") == api.UnitPoint {
		p.Unit = api.UnitPoint
	}
	var list api.WalletEntryList
	err := v.list("/v1/wallet/entries", url.Values{"unit": {p.Unit}}, &list)
	if err != nil {
		return err
	}
	p.Entries, p.Next = list.Entries, page.Next(v.r, list.Next)
	if err := v.get("/v1/wallet", &p.Wallet); err != nil {
		return err
	}
	var coupons api.CouponList
	if err := v.get("/v1/coupons", &coupons); err != nil {
		return err
	}
	p.Coupons = coupons.Coupons
	return v.show(http.StatusOK, view{Page: "wallet", Title: v.tongue.text("wallet.title"), D: &p})
}
