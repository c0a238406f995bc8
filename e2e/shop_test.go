package e2e

import (
	"testing"
)

// maxUnits is the most units that the shop under test allows in an order.
const maxUnits = 5000

// TestShop runs one shop and everything that can be tried on it side by side.
// Every case has users and SKUs of its own. At the end the books must add up.
func TestShop(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--max-units", "5000").ready()
	t.Run("cases", func(t *testing.T) {
		for _, c := range []struct {
			name string
			try  func(*testing.T, *process)
		}{
			{"placed", tryPlaced}, {"usedCoupon", tryUsedCoupon}, {"short", tryShort},
			{"priceChanged", tryPriceChanged}, {"totalChanged", tryTotalChanged},
			{"balance", tryBalance}, {"coupons", tryCoupons}, {"covered", tryCovered},
			{"allocation", tryAllocation},
			{"tokenFifty", tryTokenFifty}, {"tokenAgain", tryTokenAgain},
			{"tokenForeign", tryTokenForeign},
			{"lastUnit", tryLastUnit}, {"twoLines", tryTwoLines}, {"limits", tryLimits},
			{"stockByHand", tryStockByHand}, {"csv", tryCSV},
			{"cancel", tryCancel}, {"cancelBySupport", tryCancelBySupport},
			{"cartCrowd", tryCartCrowd}, {"cartLines", tryCartLines}, {"cartPrices", tryCartPrices},
			{"cartGuest", tryCartGuest}, {"cartTaken", tryCartTaken},
			{"catalogue", tryCatalogue}, {"checkout", tryCheckout},
			{"accounts", tryAccounts}, {"password", tryPassword}, {"roles", tryRoles},
			{"addresses", tryAddresses}, {"strangers", tryStrangers}, {"ledgers", tryLedgers},
			{"longPoll", tryLongPoll}, {"events", tryEvents},
			{"openAPI", tryOpenAPI}, {"docs", tryDocs},
			{"badInput", tryBadInput}, {"badCSV", tryBadCSV}, {"largeBodies", tryLargeBodies},
			{"garbage", tryGarbage},
			{"streams", tryStreams}, {"metadata", tryMetadata}, {"services", tryServices},
			{"messages", tryMessages},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, p.at(t))
			})
		}
	})
	if code := p.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	audit(t, data)
}
