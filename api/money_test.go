package api_test

import (
	"math"
	"strings"
	"testing"

	"ordo/api"
)

func TestParseMoney(t *testing.T) {
	for _, c := range []struct {
		in, currency string
		want         int64
	}{
		{"2.55", "GBP", 255},
		{"2.5", "GBP", 250},
		{"2", "GBP", 200},
		{"0.01", "GBP", 1},
		{"-0.01", "GBP", -1},
		{"-0", "GBP", 0},
		{"007.10", "GBP", 710},
		{"2", "JPY", 2},
		{"2.555", "KWD", 2555},
		{"12", api.UnitPoint, 12},
		{"10000000000.00", "GBP", api.MaxAmount},
		{"-10000000000.00", "GBP", -api.MaxAmount},
		{"1000000000000", "JPY", api.MaxAmount},
	} {
		got, err := api.ParseMoney(c.in, c.currency)
		if want := (api.Money{Amount: c.want, Currency: c.currency}); err != nil || got != want {
			t.Errorf("%q %s: got %v, %v, want %v", c.in, c.currency, got, err, want)
		}
	}
}

// What is not strictly an amount is refused, never rounded or guessed.
func TestParseMoneyRefuses(t *testing.T) {
	for _, c := range []struct{ in, currency string }{
		{"", "GBP"}, {"-", "GBP"}, {".", "GBP"}, {".5", "GBP"}, {"5.", "GBP"}, {"-.5", "GBP"},
		{"+1", "GBP"}, {"--1", "GBP"}, {"1-", "GBP"}, {" 1", "GBP"}, {"1 ", "GBP"}, {"1,5", "GBP"},
		{"1.2.3", "GBP"}, {"1.-5", "GBP"}, {"1e3", "GBP"}, {"0x10", "GBP"}, {"1_000", "GBP"},
		{"NaN", "GBP"}, {"Inf", "GBP"}, {"£2", "GBP"}, {"2.55 GBP", "GBP"}, {"٢", "GBP"},
		{"1\x00", "GBP"}, {"2.555", "GBP"}, {"2.5", "JPY"}, {"2.", "JPY"}, {"2.5555", "KWD"},
		{"1.5", api.UnitPoint},
		{"10000000000.01", "GBP"}, {"-10000000000.01", "GBP"}, {"1000000000001", "JPY"},
		{"9999999999999.99", "GBP"}, {"00000000000001", "GBP"},
		{strings.Repeat("9", 400), "GBP"},
	} {
		got, err := api.ParseMoney(c.in, c.currency)
		if e := api.AsError(err); e == nil || e.Code != api.CodeInvalid {
			t.Errorf("%q %s: got %v, %v, want %s", c.in, c.currency, got, err, api.CodeInvalid)
		}
		if got != (api.Money{}) {
			t.Errorf("%q %s: a refusal with an amount: %v", c.in, c.currency, got)
		}
	}
}

func TestMoneyString(t *testing.T) {
	for _, c := range []struct {
		in   api.Money
		want string
	}{
		{api.Money{Amount: 255, Currency: "GBP"}, "2.55 GBP"},
		{api.Money{Amount: 0, Currency: "GBP"}, "0.00 GBP"},
		{api.Money{Amount: 5, Currency: "GBP"}, "0.05 GBP"},
		{api.Money{Amount: -5, Currency: "GBP"}, "-0.05 GBP"},
		{api.Money{Amount: -12345, Currency: "KWD"}, "-12.345 KWD"},
		{api.Money{Amount: 12, Currency: "JPY"}, "12 JPY"},
		{api.Money{Amount: math.MaxInt64, Currency: "GBP"}, "92233720368547758.07 GBP"},
		{api.Money{Amount: math.MinInt64, Currency: "GBP"}, "-92233720368547758.08 GBP"},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%d %s: got %q, want %q", c.in.Amount, c.in.Currency, got, c.want)
		}
	}
}

func TestLineTotal(t *testing.T) {
	for _, c := range []struct {
		price, quantity, want int64
		refused               bool
	}{
		{price: 250, quantity: 3, want: 750},
		{price: 0, quantity: math.MaxInt64, want: 0},
		{price: math.MaxInt64, quantity: 0, want: 0},
		{price: api.MaxAmount, quantity: 1, want: api.MaxAmount},
		{price: 1, quantity: api.MaxAmount, want: api.MaxAmount},
		{price: 1_000_000, quantity: api.MaxQuantity, want: api.MaxAmount},
		{price: api.MaxAmount, quantity: 2, refused: true},
		{price: 1, quantity: api.MaxAmount + 1, refused: true},
		{price: 1_000_001, quantity: api.MaxQuantity, refused: true},
		{price: math.MaxInt64, quantity: math.MaxInt64, refused: true},
		{price: math.MaxInt64/2 + 1, quantity: 2, refused: true},
		{price: 3, quantity: math.MaxInt64/3 + 1, refused: true},
		{price: -1, quantity: 1, refused: true},
		{price: 1, quantity: -1, refused: true},
		{price: 2, quantity: math.MinInt64, refused: true},
		{price: math.MinInt64, quantity: 2, refused: true},
	} {
		got, err := api.LineTotal(c.price, c.quantity)
		e := api.AsError(err)
		if c.refused != (err != nil) || got != c.want || err != nil && (e == nil || e.Code != api.CodeInvalid) {
			t.Errorf("%d × %d: got %d, %v, want %d, refused %t",
				c.price, c.quantity, got, err, c.want, c.refused)
		}
	}
}

// FuzzParseMoney: what is read prints as itself and reads back as the same.
func FuzzParseMoney(f *testing.F) {
	for _, s := range []string{"2.55", "-0.01", "0", "-0", "10000000000.00", "1.", ".1", "1e9", "٣"} {
		for _, currency := range []string{"GBP", "JPY", "KWD"} {
			f.Add(s, currency)
		}
	}
	f.Fuzz(func(t *testing.T, s, currency string) {
		m, err := api.ParseMoney(s, currency)
		if err != nil {
			if e := api.AsError(err); e == nil || e.Code != api.CodeInvalid {
				t.Fatalf("%q: got %v, want %s", s, err, api.CodeInvalid)
			}
			return
		}
		if m.Currency != currency || m.Amount > api.MaxAmount || m.Amount < -api.MaxAmount {
			t.Fatalf("%q %q: got %+v", s, currency, m)
		}
		printed, ok := strings.CutSuffix(m.String(), " "+currency)
		if !ok {
			t.Fatalf("%q prints as %q", s, m)
		}
		again, err := api.ParseMoney(printed, currency)
		if err != nil || again != m {
			t.Fatalf("%q prints as %q, which reads as %v, %v", s, m, again, err)
		}
	})
}
