package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ordo/api"
)

// TestPages runs one shop and what people do with its pages, side by side.
// ACCEPT P10
func TestPages(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--refund-time", "720h").ready()
	t.Run("cases", func(t *testing.T) {
		for _, c := range []struct {
			name string
			try  func(*testing.T, *process)
		}{
			{"walk", tryPagesWalk}, {"guest", tryPagesGuest}, {"price", tryPagesPrice},
			{"short", tryPagesShort}, {"twice", tryPagesTwice}, {"course", tryPagesCourse},
			{"cancel", tryPagesCancel}, {"mistakes", tryPagesMistakes}, {"account", tryPagesAccount},
			{"languages", tryPagesLanguages}, {"tour", tryPagesTour},
			{"forged", tryPagesForged}, {"strangers", tryPagesStrangers},
			{"redirects", tryPagesRedirects}, {"programs", tryPagesPrograms},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.try(t, p.at(t))
			})
		}
	})
	p.endsEven(p.till(), data)
}

// hoodies puts a product with sizes and colours on sale and answers its name.
func (p *process) hoodies(price string, stock string) (product, name string) {
	p.t.Helper()
	id := strings.ToLower(api.NewID("h"))[20:]
	name = "Hoodie " + id
	rows := []string{"sku,spu,product_name,name,price,stock,categories,option:size,option:colour"}
	for _, size := range []string{"S", "M", "XL"} {
		for _, colour := range []string{"Blue", "Red"} {
			rows = append(rows, strings.Join([]string{id + "-" + size + "-" + colour, id, name, name,
				price, stock, "Wear/Hoodies " + id, size, colour}, ","))
		}
	}
	p.importCSV(rows...)
	return id, name
}

// user is the account of somebody who has logged in on the pages.
func (w *person) user(p *process) *shopper {
	w.t.Helper()
	s := &shopper{client: p.as(w.cookie("ordo-session")), p: p}
	var me api.User
	s.must("GET", "/v1/me", nil, &me)
	s.id = me.ID
	return s
}

func mail() string { return strings.ToLower(api.NewID("p")) + "@shop.test" }

// A person goes the whole way without JavaScript: from looking around as a
// visitor to an order that is paid, sent, and refunded in part.
// ACCEPT P10 F1 F2 K2 K4 S3 U1 U2 Y2 Y9 L2
func tryPagesWalk(t *testing.T, p *process) {
	id, name := p.hoodies("20.00", "10")
	w := p.person("en-GB,en;q=0.8")
	w.visit("/").fill("Search products", strings.ToUpper(name)).press("Search").
		sees(200, name, "£20.00").follow(name).sees(200, "In stock", id+"-S-Blue")
	// A choice by its options, shown before it is bought.
	w.choose("XL").choose("Red").press("Show price and stock").sees(200, id+"-XL-Red").
		fill("Quantity", "3").press("Add to cart").
		sees(200, "Added to your cart", "Red, XL", "£20.00 each", "£60.00")
	w.sees(200, "Cart 3 units in it")
	w.fill("Quantity", "2").press("Update").
		sees(200, "Your cart is updated", "£40.00", "Cart 2 units in it")
	w.press("Check out").sees(200, "Log in").follow("Make an account").
		fill("E-mail", mail()).fill("Password", "correct horse").press("Make the account").
		sees(200, "Checkout", "Red, XL", "You have no address yet")
	u := w.user(p)
	coupon := u.coupon(500, 0)
	u.give(gbp(1000))
	w.follow("Add an address").addAddress().sees(200, "Checkout", "St James's Square", "£40.00")
	w.choose("Welcome").fill("Pay from your balance", "7.50").press("Place the order").
		sees(200, "Nothing is ordered yet", "−£5.00", "−£7.50", "£27.50")
	if u.orders() != 0 {
		t.Error("an order was placed for another total than was shown")
	}
	w.press("Place the order: £27.50").
		sees(200, "Thank you for your order", "To be paid", "£27.50", "Ada Lovelace")
	o := u.order(w.id())
	if o.Coupon != coupon || o.Balance != gbp(750) || o.Due != gbp(2750) ||
		o.Lines[0].SKU != id+"-XL-Red" || o.Lines[0].Quantity != 2 || o.Channel != api.ChannelWeb {
		t.Errorf("order: %+v", o)
	}
	w.press("Pay £27.50").sees(200, "Continue to Alipay").follow("Continue to Alipay")
	w.press("Pay").until("Thank you, your payment has arrived").sees(200, "Paid")
	p.fulfilled(o.ID)
	w.visit("/cart").sees(200, "Your cart is empty")
	w.visit("/orders").sees(200, name, "Paid").follow(name).sees(200, "You earned", "Ask for a refund")
	w.press("Ask for the refund").sees(422, "There is a problem", "Enter how many units")
	w.fill(name, "3").press("Ask for the refund").sees(409, "This is more than is left to refund")
	w.fill(name, "1").fill("Reason", "too <b>large</b>")
	_, to, form := w.form("Ask for the refund")
	w.press("Ask for the refund").sees(200, "Your refund is noted", "too <b>large</b>").
		until("Refunded: 1").until("Refunds")
	// A second click on the same page is the same refund.
	w.send(http.MethodPost, to, form).sees(200, "Refund 1 · "+name+" × 1").lacks("Refund 2")
	u.refunded(o.ID, 1)
	p.admin().must("POST", "/admin/v1/orders/"+o.ID+"/ship", map[string]string{
		"carrier": "Royal Mail", "tracking": "AB123456789GB"}, nil)
	w.visit("/orders/"+o.ID).sees(200, "Royal Mail", "AB123456789GB").press("It has arrived").
		sees(200, "Thank you for telling us", "Received")
	w.visit("/wallet").sees(200, "Used for an order", "Refunded", "From the shop", "Used").
		follow("Points").sees(200, "Earned", "Taken back by a refund")
	w.visit("/account").press("Log out").sees(200, "You are logged out")
	w.visit("/orders").sees(200, "Log in")
	u.problem("GET", "/v1/me", nil, 401, api.CodeUnauthorized)
}

// orders is how many orders the user has.
func (s *shopper) orders() int {
	s.t.Helper()
	return len(pages[api.Order](s.client, "/v1/orders?"))
}

// refunded waits for so many refunds of an order to be done, and no more.
func (s *shopper) refunded(order string, n int) {
	s.t.Helper()
	eventually(s.t, "refunds of "+order, func() bool {
		done := 0
		for _, r := range pages[api.Refund](s.client, "/v1/orders/"+order+"/refunds?") {
			if r.State == api.RefundDone {
				done++
			}
		}
		return done == n
	})
}

// A guest's cart is merged at login, once, and is empty afterwards.
// ACCEPT K4
func tryPagesGuest(t *testing.T, p *process) {
	_, mine := p.hoodies("10.00", "9")
	guests, name := p.hoodies("30.00", "9")
	w, email := p.person("en"), mail()
	w.register(email).visit("/").fill("Search products", mine).press("Search").follow(mine).
		press("Add to cart").sees(200, mine)
	w.visit("/account").press("Log out").visit("/cart").sees(200, "Your cart is empty")
	w.visit("/products/"+guests).choose("M").press("Add to cart").sees(200, name).lacks(mine)
	guest := w.cookie("ordo-guest")
	w.press("Check out").fill("E-mail", email).fill("Password", "wrong horse").press("Log in").
		sees(401, "No account has this e-mail and password")
	w.fill("Password", "correct horse").press("Log in").sees(200, "Checkout", mine, name, "£40.00")
	if w.cookie("ordo-guest") != "" || guest == "" {
		t.Errorf("guest %q, afterwards %q", guest, w.cookie("ordo-guest"))
	}
	// Who still has the guest's id finds nothing in its cart.
	var left struct{ Lines []any }
	_, _, err := p.as("").send(http.Header{"Ordo-Guest": {guest}}, "GET", "/v1/cart", nil)
	if err != nil || len(left.Lines) != 0 {
		t.Errorf("guest cart: %v %v", left, err)
	}
	w.visit("/account").press("Log out")
	w.visit("/login").fill("E-mail", email).fill("Password", "correct horse").press("Log in").
		sees(200, "You are logged in").visit("/cart").sees(200, "£40.00")
}

// buyer is somebody with an account and an address, at the checkout of one SKU.
func (p *process) buyer(product, quantity string) *person {
	p.t.Helper()
	w := p.person("en")
	w.register(mail()).visit("/addresses").follow("Add an address").addAddress().
		sees(200, "Saved", "Default")
	return w.visit("/products/"+product).fill("Quantity", quantity).press("Buy now").
		sees(200, "Checkout")
}

// A changed price is named, nothing is ordered, and the new one can be.
// ACCEPT S3 K2
func tryPagesPrice(t *testing.T, p *process) {
	sku := p.onSale(4000, 10)
	w := p.buyer("P-"+sku, "2")
	w.visit("/products/P-" + sku).press("Add to cart")
	w.visit(address("/checkout", "sku", sku, "quantity", "2")).sees(200, "£80.00")
	u := w.user(p)
	p.reprice(sku, 4550, 0)
	w.press("Place the order: £80.00").sees(409, "A price has changed. Nothing was ordered.",
		"Goods "+sku+" (M): was £40.00, now £45.50", "£91.00")
	if n := p.sku(sku).Locked; n != 0 {
		t.Errorf("%d units locked", n)
	}
	w.press("Place the order: £91.00").sees(200, "Thank you for your order", "£91.00")
	if o := u.order(w.id()); o.Total != gbp(9100) {
		t.Errorf("order: %+v", o)
	}
	w.visit("/cart").sees(200, "The price was £40.00 and is now £45.50")
}

func address(path string, query ...string) string {
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return path + "?" + q.Encode()
}

// What can't be had is refused with what is left.
func tryPagesShort(t *testing.T, p *process) {
	id, name := p.hoodies("5.00", "3")
	w := p.buyer(id, "4").sees(200, "Only 3 left")
	w.press("Place the order").sees(409, "There is not enough left",
		name+" (Blue, S): 4 wanted, 3 left")
	p.admin().must("POST", "/admin/v1/courses:import?price=12.00",
		"section_id,course,title,seats\n"+id+"-0,"+id+",Full,0\n", nil)
	w.visit("/products/course:"+id).sees(200, "This product is not on sale")
	w.visit("/products/"+id).choose("M").choose("Blue").fill("Quantity", "3").press("Add to cart")
	w.visit("/cart").fill("Quantity", "5").press("Update").sees(200, "Only 3 left")
	w.fill("Quantity", "-1").press("Update").sees(422, "Enter a quantity of 1 or more")
	w.fill("Order this", "").fill("Quantity", "1").press("Check out").
		sees(200, "Tick what you want to order first")
	w.press("Remove").sees(200, "Removed from your cart", "Your cart is empty")
}

// Two clicks on one page are one order; the page that is gone back to, too.
// ACCEPT S2
func tryPagesTwice(t *testing.T, p *process) {
	id, _ := p.hoodies("5.00", "30")
	w := p.buyer(id, "1")
	u := w.user(p)
	_, to, form := w.form("Place the order")
	orders := make([]string, 4)
	crowd(4, 4, func(i int) {
		again := *w
		again.links = map[string]bool{}
		orders[i] = again.send(http.MethodPost, to, form).id()
	})
	for _, o := range orders {
		if o != orders[0] || !strings.HasPrefix(o, "ord_") {
			t.Errorf("orders %v", orders)
		}
	}
	form.Set("total", "499")
	w.send(http.MethodPost, to, form).sees(422, "This checkout was submitted before")
	if n := u.orders(); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// A course is found, bought with the balance, and entered.
// ACCEPT L1
func tryPagesCourse(t *testing.T, p *process) {
	sku := strings.ToLower(api.NewID("c"))[18:]
	p.admin().must("POST", "/admin/v1/courses:import?price=12.00",
		"section_id,course,title,seats\n"+sku+",Knit "+sku+",Knitting,5\n", nil)
	w := p.person("en")
	w.register(mail())
	w.user(p).give(gbp(1200))
	w.visit("/courses")
	for !strings.Contains(textOf(w.page), "Knit "+sku) {
		w.follow("More")
	}
	w.sees(200, "seats left").follow("Knit "+sku).press("Buy now").sees(200, "£12.00")
	w.follow("Add an address").addAddress().fill("Pay from your balance", "12").
		press("Update the total").sees(200, "£0.00").press("Place the order: £0.00").
		until("Thank you, your payment has arrived")
	p.fulfilled(w.id())
	w.visit("/enrolments").sees(200, "Knit "+sku, "Enrolled")
}

// ACCEPT E4
func tryPagesCancel(t *testing.T, p *process) {
	id, _ := p.hoodies("5.00", "3")
	w := p.buyer(id, "3").press("Place the order")
	order := w.at.Path
	w.press("Cancel the order").sees(200, "The order is cancelled", "It was cancelled on request")
	_, _, form := w.visit("/cart").form("English")
	form.Set("action", "pay")
	w.send(http.MethodPost, w.url+order, form).sees(409, "There is a problem", "can't be paid")
	form.Set("action", "cancel")
	w.send(http.MethodPost, w.url+order, form)
	form.Set("action", "nonsense")
	w.send(http.MethodPost, w.url+order, form).sees(404)
}

// What is wrong with a form stands above it and at its fields, and what was
// written is still there.
// ACCEPT P10
func tryPagesMistakes(t *testing.T, p *process) {
	w, email := p.person("en"), mail()
	w.register(email)
	w.visit("/register").fill("E-mail", email).fill("Password", "correct horse").
		press("Make the account").sees(409, "There is an account with this e-mail already")
	w.visit("/register").fill("E-mail", mail()).fill("Password", "short").press("Make the account").
		sees(422, "A password has 8 to 200 characters")
	w.visit("/addresses/new").fill("Name", "Ada").fill("Country", "Britain").
		press("Save").sees(422, "There is a problem", "Enter the country's two letters",
		"Enter a phone number", "Enter the city")
	for label, want := range map[string]string{"Name": "Ada", "Country": "Britain"} {
		for l := range all(w.page, "label") {
			if n := byID(w.page, attr(l, "for")); textOf(l) == label && attr(n, "value") != want {
				t.Errorf("%s is %q now", label, attr(n, "value"))
			}
		}
	}
	if n := byID(w.page, "f-city"); attr(n, "aria-invalid") != "true" ||
		!strings.Contains(attr(n, "aria-describedby"), "e-city") {
		t.Errorf("the city is not marked: %v", n.Attr)
	}
	id, _ := p.hoodies("5.00", "3")
	w.visit("/products/"+id).fill("Quantity", "0").press("Add to cart").
		sees(422, "Enter a quantity of 1 or more")
	w.visit("/products/"+id+"?o.size=M&o.colour=Green").
		sees(200, "This choice is not on sale").fill("Quantity", "1").press("Add to cart").
		sees(422, "This choice is not on sale")
	w.visit("/checkout?from=cart").sees(200, "Tick what you want to order first")
	w.visit("/checkout?sku=" + id + "-M-Blue&quantity=x").sees(422)
	w.visit("/checkout?sku="+id+"-M-Blue&balance=9").
		sees(422, "Enter an amount that you have").follow("Add an address").addAddress()
	w.visit("/?cursor=" + strings.Repeat("x", 300)).sees(422)
}

// Addresses are changed and removed, and a changed password ends other
// sessions.
// ACCEPT U2
func tryPagesAccount(t *testing.T, p *process) {
	w, email := p.person("en"), mail()
	w.register(email).visit("/addresses/new").addAddress()
	w.follow("Add an address").fill("City", "Leeds").fill("Name", "Grace").
		fill("Street and number", "1 Park Row").fill("Country", "GB").fill("Phone", "+44 113 496").
		press("Save").sees(200, "Leeds", "London")
	w.follow("Change Grace").fill("City", "York").press("Save").sees(200, "York").lacks("Leeds")
	w.follow("Change Grace").press("Make it the default").sees(200, "your default address now")
	w.follow("Change Ada Lovelace").press("Delete").sees(200, "Deleted").lacks("London")
	// An address of more lines than the form has keeps them when it is changed.
	more := map[string]any{"name": "Mary", "phone": "+44 113 497", "city": "Bath", "country": "GB",
		"lines": []string{"Flat 3", "Mill House", "Canal Yard", "2 Mill Lane"}}
	w.user(p).must("POST", "/v1/addresses", more, nil)
	w.visit("/addresses").follow("Change Mary").fill("Line 3 of the address", "Canal Court").
		press("Save").sees(200, "Flat 3 Mill House Canal Court 2 Mill Lane Bath")
	other := p.person("en")
	other.visit("/login").fill("E-mail", email).fill("Password", "correct horse").press("Log in")
	w.visit("/account").fill("Old password", "no").fill("New password", "another horse").
		press("Change the password").sees(401, "No account has this")
	w.fill("Old password", "correct horse").fill("New password", "another horse").
		press("Change the password").sees(200, "Your password is changed")
	other.visit("/account").sees(200, "Log in")
	w.visit("/account").sees(200, email)
}
