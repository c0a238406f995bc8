package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ordo/api"
)

// field is one of a form's.
type field struct {
	Name, Type, Value string
	// Complete is what browsers fill in, after the HTML standard.
	Complete string
	Required bool
	Max      int
	// Bad is what is wrong with it.
	Bad string
}

// paper is a page with one form.
type paper struct {
	Fields []field
	// Next is where the browser goes afterwards, and Key makes a repeated form
	// one.
	Next, Key string
	// Address is the one that is changed; nil for none.
	Address *api.Address
}

// fill puts what was posted, and what was wrong with it, into the fields.
func (v *visit) fill(fields []field, bad []mistake) []field {
	for i := range fields {
		f := &fields[i]
		if v.form.Has(f.Name) && f.Type != "password" {
			f.Value = v.form.Get(f.Name)
		}
		for _, m := range bad {
			if m.Field == f.Name {
				f.Bad = m.Text
			}
		}
	}
	return fields
}

func loginFields() []field {
	return []field{
		{Name: "email", Type: "email", Complete: "username", Required: true, Max: 254},
		{Name: "password", Type: "password", Complete: "current-password", Required: true,
			Max: 200}}
}

func registerFields() []field {
	return []field{
		{Name: "name", Type: "text", Complete: "name", Max: 100},
		{Name: "email", Type: "email", Complete: "username", Required: true, Max: 254},
		{Name: "password", Type: "password", Complete: "new-password", Required: true, Max: 200}}
}

// next is where a visitor goes after logging in.
func (v *visit) next() string {
	if v.r.Method == http.MethodPost {
		return v.s.site.OwnPath(v.form.Get("next"))
	}
	return v.s.site.OwnPath(v.r.URL.Query().Get("next"))
}

func (v *visit) showLogin() error    { return v.entryPage(http.StatusOK, "login", nil) }
func (v *visit) showRegister() error { return v.entryPage(http.StatusOK, "register", nil) }

func (v *visit) entryPage(status int, page string, bad []mistake) error {
	fields := loginFields()
	if page == "register" {
		fields = registerFields()
	}
	return v.show(status, view{Page: page, Title: v.tongue.text(page + ".title"), Errors: bad,
		D: paper{Fields: v.fill(fields, bad), Next: v.next(), Key: rand.Text()}})
}

// entered is the answer to a login.
type entered struct {
	Token      string   `json:"token"`
	Expires    api.Time `json:"expires_at"`
	CartMerged bool     `json:"cart_merged"`
}

// login is row U1, and row K4 for the guest's cart.
func (v *visit) login() error {
	return v.enter("login", map[string]any{"email": v.value("email"),
		"password": v.form.Get("password")})
}

func (v *visit) register() error {
	return v.enter("register", map[string]any{"email": v.value("email"), "name": v.value("name"),
		"password": v.form.Get("password")})
}

// enter logs in or registers. The guest's cart goes with it, and the browser's
// forms get a new key.
func (v *visit) enter(page string, body map[string]any) error {
	guest := v.guest
	v.session, v.guest = "", ""
	var in entered
	err := v.post("/v1/"+page, body, &in, "Ordo-Guest", guest,
		"Idempotency-Key", v.value("key"))
	if p := refused(err); p != nil && p.Place == "Ordo-Guest" {
		err = v.post("/v1/"+page, body, &in, "Idempotency-Key", v.value("key"))
		in.CartMerged = true // there is nothing of it
	}
	if p := refused(err); p != nil && p.Status < http.StatusInternalServerError {
		names := map[string]string{}
		if p.Code == api.CodeBadLogin || p.Code == api.CodeEmailTaken {
			names[""] = "email"
		}
		return v.entryPage(p.Status, page, v.mistakes(p, names))
	}
	if err != nil {
		return err
	}
	v.begin(&in)
	if in.CartMerged {
		v.dropCookie(cookieGuest)
	}
	return v.goNoted(v.next(), page)
}

// begin keeps a new session in the browser.
func (v *visit) begin(in *entered) {
	v.session, v.key = in.Token, rand.Text()
	v.setCookie(cookieSession, in.Token, time.Until(in.Expires.Std()))
	v.setCookie(cookieForm, v.key, 0)
}

func (v *visit) logout() error {
	if err := v.post("/v1/logout", nil, nil); err != nil && !is(err, api.CodeUnauthorized) {
		return err
	}
	v.dropCookie(cookieSession)
	v.dropCookie(cookiePaying)
	v.setCookie(cookieForm, rand.Text(), 0)
	return v.goNoted("/", "logout")
}

func passwordFields() []field {
	return []field{
		{Name: "old_password", Type: "password", Complete: "current-password", Required: true,
			Max: 200},
		{Name: "new_password", Type: "password", Complete: "new-password", Required: true,
			Max: 200}}
}

func (v *visit) showAccount() error { return v.accountPage(http.StatusOK, nil) }

func (v *visit) accountPage(status int, bad []mistake) error {
	if err := v.needUser(); err != nil {
		return err
	}
	var me api.User
	if err := v.get("/v1/me", &me); err != nil {
		return err
	}
	return v.show(status, view{Page: "account", Title: v.tongue.text("account.title"), Errors: bad,
		D: struct {
			api.User
			paper
		}{me, paper{Fields: v.fill(passwordFields(), bad)}}})
}

// changePassword ends all other sessions.
func (v *visit) changePassword() error {
	if err := v.needUser(); err != nil {
		return err
	}
	var in entered
	err := v.post("/v1/me/password", map[string]any{"old_password": v.form.Get("old_password"),
		"new_password": v.form.Get("new_password")}, &in)
	if p := ofForm(err); p != nil {
		return v.accountPage(p.Status, v.mistakes(p, nil))
	}
	if err != nil {
		return err
	}
	v.begin(&in)
	return v.goNoted("/account", "password")
}

func (v *visit) readAddresses() (list api.AddressList, err error) {
	if err := v.needUser(); err != nil {
		return list, err
	}
	err = v.get("/v1/addresses", &list)
	return list, err
}

// listAddresses is row U2.
func (v *visit) listAddresses() error {
	list, err := v.readAddresses()
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "addresses", Title: v.tongue.text("addresses.title"),
		D: list.Addresses})
}

// addressFields are those of an address. It keeps the lines that it has; a new one
// has two.
func addressFields(a *api.Address) []field {
	fields := []field{
		{Name: "name", Type: "text", Value: a.Name, Complete: "name", Required: true, Max: 100}}
	for i := range max(2, len(a.Lines)) {
		f := field{Name: lineField(i), Type: "text", Complete: "off", Required: i == 0, Max: 200}
		if i < len(a.Lines) {
			f.Value = a.Lines[i]
		}
		if i < 3 {
			f.Complete = "address-" + f.Name
		}
		fields = append(fields, f)
	}
	return append(fields, []field{
		{Name: "city", Type: "text", Value: a.City, Complete: "address-level2", Required: true,
			Max: 100},
		{Name: "postcode", Type: "text", Value: a.Postcode, Complete: "postal-code", Max: 20},
		{Name: "country", Type: "text", Value: a.Country, Complete: "country", Required: true,
			Max: 2},
		{Name: "phone", Type: "tel", Value: a.Phone, Complete: "tel", Required: true, Max: 30}}...)
}

// maxAddressLines is the most lines of an address.
const maxAddressLines = 5

// lineField is the name of the field of an address's line, which count from 0.
func lineField(i int) string { return "line" + strconv.Itoa(i+1) }

func (v *visit) showAddress() error { return v.addressPage(http.StatusOK, nil) }

// addressPage is the form of an address: of the one that the address of the
// page names, or of a new one.
func (v *visit) addressPage(status int, bad []mistake) error {
	list, err := v.readAddresses()
	if err != nil {
		return err
	}
	p := paper{Next: v.next(), Key: rand.Text()}
	a, title := &api.Address{}, "address.new"
	if id := v.r.PathValue("id"); id != "" {
		for i := range list.Addresses {
			if list.Addresses[i].ID == id {
				p.Address, a, title = &list.Addresses[i], &list.Addresses[i], "address.change"
			}
		}
		if p.Address == nil {
			return notFound()
		}
	}
	p.Fields = v.fill(addressFields(a), bad)
	return v.show(status, view{Page: "address", Title: v.tongue.text(title), Errors: bad, D: p})
}

// saveAddress is a button of the form of an address.
func (v *visit) saveAddress() error {
	if err := v.needUser(); err != nil {
		return err
	}
	id := v.r.PathValue("id")
	path := "/v1/addresses"
	method := http.MethodPost
	if id != "" {
		path += "/" + url.PathEscape(id)
		method = http.MethodPut
	}
	note := v.value("action")
	var err error
	switch {
	case id != "" && note == "delete":
		err = v.call(http.MethodDelete, path, nil, nil)
	case id != "" && note == "default":
		err = v.post(path+"/default", nil, nil)
	default:
		note = "saved"
		err = v.call(method, path, v.addressBody(), nil, "Idempotency-Key", v.value("key"))
	}
	if p := ofForm(err, api.CodeNotFound); p != nil {
		return v.addressPage(p.Status, v.mistakes(p, map[string]string{"lines": "line1"}))
	}
	if err != nil {
		return err
	}
	if to := v.next(); to != "/" && note == "saved" {
		return v.goTo(to)
	}
	return v.goNoted("/addresses", note)
}

func (v *visit) addressBody() map[string]any {
	lines := []string{v.value(lineField(0))}
	for i := 1; i < maxAddressLines; i++ {
		if more := v.value(lineField(i)); more != "" {
			lines = append(lines, more)
		}
	}
	return map[string]any{"name": v.value("name"), "phone": v.value("phone"), "lines": lines,
		"city": v.value("city"), "postcode": v.value("postcode"),
		"country": strings.ToUpper(v.value("country")), "default": v.form.Has("default")}
}
