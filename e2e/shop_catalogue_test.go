package e2e

import (
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// products lists products as a visitor, page by page of two.
func (p *process) products(query string) (ids []string) {
	p.t.Helper()
	for cursor := ""; ; {
		var list api.ProductList
		p.as("").must("GET", "/v1/products?limit=2&"+query+"&cursor="+url.QueryEscape(cursor), nil,
			&list)
		for _, f := range list.Products {
			ids = append(ids, f.ID)
		}
		if len(list.Products) > 2 {
			p.t.Errorf("a page of %d", len(list.Products))
		}
		if cursor = list.Next; cursor == "" {
			return ids
		}
	}
}

// ACCEPT C1 C2 C3
func tryCatalogue(t *testing.T, p *process) {
	// A word and a category that no other test has.
	const header = "sku,spu,product_name,name,price,stock,categories,option:size,option:colour," +
		"attribute:material,picture"
	p.importCSV(header,
		"CT1-S,CT1,Zephyr Rain Jacket,Jacket S,45.00,3,Zed/Tops/Jackets|Zed/Sale,S,Blue,Nylon,/j.jpg",
		"CT1-M,CT1,,Jacket M,46.50,4,,M,Blue,,",
		"CT2,CT2,Zephyr Tee,Tee,9.99,5,Zed/Tops,,,Cotton,",
		"CT3,CT3,Zephyr Shoe,Shoe,20,0,Zed/Shoes,,,,",
		"CT4,CT4,zephyr rain hat,Hat,7.5,1,Zed/Sale,,,,",
		"CT5,CT5,Umbrella of Zephyr,Umbrella,12,1,,,,,")
	for query, want := range map[string][]string{
		"search=zephyr":                         {"CT1", "CT2", "CT3", "CT4", "CT5"},
		"search=RAIN+zephyr":                    {"CT1", "CT4"},
		"search=zephyr&category=Zed":            {"CT1", "CT2", "CT3", "CT4"},
		"category=Zed/Tops":                     {"CT1", "CT2"},
		"category=Zed/Tops/Jackets":             {"CT1"},
		"category=Zed/Sale&search=hat":          {"CT4"},
		"category=Zed/To":                       nil,
		"search=zephyr+rain+%25":                nil,
		"search=zephyr%27%3B+DROP+TABLE+sku%3B": nil,
	} {
		if got := p.products(query); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	var jacket api.Product
	p.as("").must("GET", "/v1/products/CT1", nil, &jacket)
	if jacket.Name != "Zephyr Rain Jacket" || jacket.Attributes["material"] != "Nylon" ||
		!slices.Equal(jacket.Categories, []string{"Zed/Tops/Jackets", "Zed/Sale"}) ||
		len(jacket.SKUs) != 2 {
		t.Errorf("product: %+v", jacket)
	}
	s := p.shopper()
	s.buy("CT1-S", 2)
	want := api.SKU{ID: "CT1-S", Product: "CT1", Name: "Jacket S", Price: gbp(4500),
		Options: map[string]string{"size": "S", "colour": "Blue"}, Picture: "/j.jpg", Stock: 3, Locked: 2}
	if got := p.sku("CT1-S"); !reflect.DeepEqual(got, want) {
		t.Errorf("SKU: %+v, want %+v", got, want)
	}
	p.as("").problem("GET", "/v1/skus/CT9", nil, 404, api.CodeNotFound)
	p.as("").problem("GET", "/v1/products/CT9", nil, 404, api.CodeNotFound)
}

// ACCEPT F1 F2 F3
func tryCheckout(t *testing.T, p *process) {
	s := p.shopper()
	second := addressBody(sender)
	second["city"], second["default"] = "Leeds", true
	s.must("POST", "/v1/addresses", second, nil)
	a, b := p.onSale(1000, 3), p.onSale(250, 1)
	small, large := s.coupon(100, 0), s.coupon(300, 2250)
	s.coupon(900, 5000)
	s.couponAt(900, 0, time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	used := s.coupon(900, 0)
	s.submit(s.checkout(p.onSale(900, 1), 1).using(used, 900, 0))
	s.give(gbp(77))
	s.add(a, 2)
	s.add(b, 1)

	var cart, now page
	s.must("POST", "/v1/checkouts", checkoutBody("", 0), &cart)
	s.must("POST", "/v1/checkouts", checkoutBody(b, 2), &now)
	if cart.Total != gbp(2250) || len(cart.Lines) != 2 || cart.Lines[0].SKU != a ||
		cart.Lines[0].Price != gbp(1000) || cart.Lines[0].Total != gbp(2000) ||
		cart.Lines[0].Available != 3 || cart.Balance != gbp(77) {
		t.Errorf("page: %+v", cart)
	}
	if len(cart.Addresses) != 2 || !cart.Addresses[0].Default || cart.Addresses[0].City != "Leeds" {
		t.Errorf("addresses: %+v", cart.Addresses)
	}
	if len(cart.Coupons) != 2 || cart.Coupons[0].ID != large || cart.Coupons[1].ID != small {
		t.Errorf("coupons: %+v, want %s and %s", cart.Coupons, large, small)
	}
	if !slices.Contains(cart.PayMethods, api.PayAlipay) ||
		!slices.Contains(cart.PayMethods, api.PayBalance) {
		t.Errorf("pay methods: %v", cart.PayMethods)
	}
	if now.Total != gbp(500) || len(now.Lines) != 1 || now.Lines[0].SKU != b ||
		len(now.Coupons) != 1 || now.Token == cart.Token {
		t.Errorf("buy-now page: %+v", now)
	}
	s.keptToken(&now)
}

// keptToken checks that the token stands under its user in a bucket that
// forgets it.
func (s *shopper) keptToken(c *page) {
	s.t.Helper()
	js, err := jetstream.New(s.p.connect())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx := within(s.t, time.Minute)
	kv, err := js.KeyValue(ctx, bus.BucketCheckout)
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := kv.Get(ctx, s.id+"."+c.Token)
	if err != nil {
		s.t.Fatal(err)
	}
	kept := decode[stores.Checkout](s.t, e.Value())
	status, err := kv.Status(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	left := time.Until(c.Expires.Std())
	if kept.User != s.id || kept.Order != "" || kept.Expires != c.Expires ||
		status.TTL() != bus.CheckoutTTL || left < bus.CheckoutTTL-time.Minute || left > bus.CheckoutTTL {
		s.t.Errorf("kept %+v for %s, expires in %s", kept, status.TTL(), left)
	}
}
