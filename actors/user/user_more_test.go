package user_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

func home() api.Address {
	return api.Address{Name: "Zoë Ash", Phone: "+44 20 7946 0000", City: "London",
		Lines: []string{"1 High Street", "Flat 2"}, Postcode: "N1 1AA", Country: "GB"}
}

// book lists a user's addresses and checks that exactly one of them, the first,
// is the default.
func (s *shop) book(user string) []api.Address {
	s.T.Helper()
	var l api.AddressList
	if refusal := s.Ask(&api.ListAddresses{User: user}, &l); refusal != nil {
		s.T.Fatal(refusal)
	}
	for i, a := range l.Addresses {
		if a.Default != (i == 0) {
			s.T.Errorf("address %d of %d: default is %v", i, len(l.Addresses), a.Default)
		}
	}
	return l.Addresses
}

func (s *shop) save(user string, a api.Address) api.Address {
	s.T.Helper()
	s.must(&api.SaveAddress{User: user, Address: a}, &a)
	return a
}

func ids(all []api.Address) string {
	var s []string
	for _, a := range all {
		s = append(s, a.ID)
	}
	return strings.Join(s, " ")
}

// ACCEPT U2
func TestDefaultAddress(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	first := s.save("usr_1", home())
	second := s.save("usr_1", home())
	third := s.save("usr_1", home())
	if !first.Default || second.Default || third.Default {
		t.Errorf("defaults: %v %v %v", first.Default, second.Default, third.Default)
	}
	third.Default = true
	s.save("usr_1", third)
	if got, want := ids(s.book("usr_1")), third.ID+" "+first.ID+" "+second.ID; got != want {
		t.Errorf("book %s, want %s", got, want)
	}
	third.Default = false
	if got := s.save("usr_1", third); !got.Default {
		t.Error("the default was given up to nobody")
	}
	s.must(&api.DeleteAddress{User: "usr_1", Address: third.ID}, nil)
	if got, want := ids(s.book("usr_1")), first.ID+" "+second.ID; got != want {
		t.Errorf("book %s, want %s", got, want)
	}
	s.must(&api.DeleteAddress{User: "usr_1", Address: second.ID}, nil)
	s.must(&api.DeleteAddress{User: "usr_1", Address: first.ID}, nil)
	if got := s.book("usr_1"); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
	if a := home(); !s.save("usr_1", a).Default {
		t.Error("the first address of an empty book is not the default")
	}
}

// ACCEPT U2
func TestChangeAddress(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	a := s.save("usr_1", home())
	a.Name, a.Lines, a.City, a.Postcode, a.Country = "Z", []string{"Rue 1"}, "Lyon", "", "FR"
	s.save("usr_1", a)
	got := s.book("usr_1")
	if len(got) != 1 || string(api.Raw(got[0])) != string(api.Raw(a)) {
		t.Errorf("book %s, want %s", api.Raw(got), api.Raw(a))
	}
}

// ACCEPT U2 U4
func TestAddressesAreTheirOwners(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	s.must(person(2), nil)
	a := s.save("usr_1", home())
	s.refused(&api.SaveAddress{User: "usr_2", Address: a}, api.CodeNotFound, "address")
	s.refused(&api.DeleteAddress{User: "usr_2", Address: a.ID}, api.CodeNotFound, "address")
	s.refused(&api.SaveAddress{User: "usr_9", Address: home()}, api.CodeNotFound, "user")
	if got := s.book("usr_2"); len(got) != 0 {
		t.Errorf("usr_2 has %+v", got)
	}
	if got := s.book("usr_1"); len(got) != 1 || !slices.Equal(got[0].Lines, a.Lines) {
		t.Errorf("usr_1 has %+v", got)
	}
	s.must(&api.DeleteAddress{User: "usr_1", Address: a.ID}, nil)
	s.refused(&api.DeleteAddress{User: "usr_1", Address: a.ID}, api.CodeNotFound, "address")
	s.refused(&api.SaveAddress{User: "usr_1", Address: a}, api.CodeNotFound, "address")
}

// ACCEPT U2
func TestBadAddresses(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	for _, c := range []struct {
		place  string
		change func(*api.Address)
	}{
		{"name", func(a *api.Address) { a.Name = "" }},
		{"name", func(a *api.Address) { a.Name = "  " }},
		{"name", func(a *api.Address) { a.Name = strings.Repeat("n", 101) }},
		{"phone", func(a *api.Address) { a.Phone = "12" }},
		{"phone", func(a *api.Address) { a.Phone = strings.Repeat("1", 31) }},
		{"lines", func(a *api.Address) { a.Lines = nil }},
		{"lines", func(a *api.Address) { a.Lines = make([]string, 6) }},
		{"lines[1]", func(a *api.Address) { a.Lines[1] = "" }},
		{"lines[0]", func(a *api.Address) { a.Lines[0] = strings.Repeat("l", 201) }},
		{"lines[0]", func(a *api.Address) { a.Lines[0] = "one\ntwo" }},
		{"city", func(a *api.Address) { a.City = "" }},
		{"postcode", func(a *api.Address) { a.Postcode = strings.Repeat("1", 21) }},
		{"country", func(a *api.Address) { a.Country = "" }},
		{"country", func(a *api.Address) { a.Country = "gb" }},
		{"country", func(a *api.Address) { a.Country = "GBR" }},
		{"country", func(a *api.Address) { a.Country = "ÄÖ" }},
	} {
		a := home()
		c.change(&a)
		s.refused(&api.SaveAddress{User: "usr_1", Address: a}, api.CodeInvalid,
			"address."+c.place)
	}
	if got := s.book("usr_1"); len(got) != 0 {
		t.Errorf("kept %+v", got)
	}
	longest := api.Address{Name: strings.Repeat("ü", 100), Phone: strings.Repeat("1", 30),
		Lines: slices.Repeat([]string{strings.Repeat("ü", 200)}, 5),
		City:  strings.Repeat("ü", 100), Postcode: strings.Repeat("1", 20), Country: "ZW"}
	s.save("usr_1", longest)
}

// ACCEPT U2
func TestAddressBookIsLimited(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	var last api.Address
	for i := range api.MaxAddresses {
		a := home()
		a.Lines[0] = fmt.Sprintf("%d High Street", i)
		last = s.save("usr_1", a)
	}
	s.refused(&api.SaveAddress{User: "usr_1", Address: home()}, api.CodeLimitExceeded, "address")
	last.City = "Leeds"
	s.save("usr_1", last)
	if got := s.book("usr_1"); len(got) != api.MaxAddresses || got[len(got)-1].City != "Leeds" {
		t.Errorf("%d addresses", len(got))
	}
}

// ACCEPT U2 M2
func TestSavedTwiceMadeOnce(t *testing.T) {
	s := open(t)
	s.must(person(1), nil)
	m := &api.SaveAddress{User: "usr_1", Address: home()}
	first := s.MustEdge("once", m)
	second := s.MustEdge("once", m)
	if string(first.Value) != string(second.Value) || len(s.book("usr_1")) != 1 {
		t.Errorf("%s, then %s", first.Value, second.Value)
	}
}
