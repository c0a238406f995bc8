package main

import (
	"bytes"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ordo/api"
	"ordo/cmd/ordo/sample"
)

const testCatalog = `spu,sku,variant,spu_name,name,type,price
1,10A,A,LAMP,RED LAMP,goods,2.55
1,10B,B,LAMP,BLUE LAMP,goods,3
2,PADS,,PADS,PADS,service,0.001
3,10C,,,,goods,0.85
`

const testOrders = `inv,ts,sku,qty,price,cust,country,kind,ref
1,2010-12-01T08:26,10a,6,2.55,7,United Kingdom,S,
1,2010-12-01T08:26,10B,2,3.39,7,United Kingdom,S,
2,2010-12-01T08:27,10C,1,0.85,,EIRE,S,
1,2010-12-01T08:28,10A,4,9.99,7,United Kingdom,S,
C3,2010-12-01T08:29,10A,-4,2.55,7,United Kingdom,C,1
C3,2010-12-01T08:29,10A,-1,2.55,7,United Kingdom,C,
C3,2010-12-01T08:29,10A,1,0.56,7,United Kingdom,C,1
C3,2010-12-01T08:29,10A,-1,0,7,United Kingdom,C,1
C3,2010-12-01T08:29,10A,-1,1e9,7,United Kingdom,C,1
4,2010-12-01T08:30,10A,-9,0,,United Kingdom,J,
5,2010-12-01T08:31,10B,1,0,8,France,Z,
A6,2010-12-01T08:32,B,1,-11062.06,,United Kingdom,D,
7,2010-12-01T08:33,PADS,1,0.001,9,France,S,
8,2010-12-01T08:34,NOSUCH,1,5,9,France,S,
8,2010-12-01T08:34,10B,0,3,9,France,S,
8,2010-12-01T08:34,10B,2000000,3,9,France,S,
8,2010-12-01T08:34,10B,x,3,9,France,S,
8,2010-12-01T08:34,10B,1,0,9,France,S,
8,2010-12-01T08:34,10B,1,3,9,France,?,
9,2010-12-01T08:35
10,2010-12-01T08:36,10b,5,3,9,France,S,
`

func readTest(t *testing.T, limit int) *trace {
	t.Helper()
	goods, err := readCatalog(strings.NewReader(testCatalog), "GBP")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := readTrace(strings.NewReader(testOrders), goods, limit)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestReadTrace(t *testing.T) {
	tr := readTest(t, 0)
	if len(tr.Invoices) != 3 || tr.Empty != 2 || tr.Rows != 21 {
		t.Fatalf("%d invoices, %d empty, %d rows", len(tr.Invoices), tr.Empty, tr.Rows)
	}
	first := tr.Invoices[0]
	// Rows of a SKU are merged, whatever their case and price.
	if want := []invoiceLine{{"10A", 10}, {"10B", 2}}; !slices.Equal(first.Lines, want) ||
		first.rows != 3 || first.Customer != "7" || first.Country != "United Kingdom" {
		t.Errorf("%+v", first)
	}
	want := map[string]int{skipWriteOff: 1, skipZeroPrice: 3, skipBadDebt: 1, skipNoPrice: 1,
		skipUnknownSKU: 1, skipQuantity: 3, skipBadRow: 4, skipNoRef: 1}
	if !maps.Equal(tr.Skips.Rows, want) {
		t.Errorf("skips %v, want %v", tr.Skips, want)
	}
	if want := (cancelRow{No: "C3", At: "2010-12-01T08:29", Ref: "1", SKU: "10A", Quantity: 4,
		Amount: 1020}); len(tr.Cancels) != 1 || tr.Cancels[0] != want {
		t.Errorf("cancellations %+v", tr.Cancels)
	}
	// 6 × 2.55 + 2 × 3.39 + 4 × 9.99, by the trace's own prices.
	if first.Amount != 6204 || tr.Skips.Sales != 500+2_000_000*300 || tr.Skips.Refunds != 199 ||
		tr.Skips.Amounts[skipBadDebt] != -1106206 || tr.Skips.Amounts[skipNoRef] != -255 {
		t.Errorf("%d, %+v", first.Amount, tr.Skips)
	}
}

func TestReadTraceLimit(t *testing.T) {
	tr := readTest(t, 2)
	if len(tr.Invoices) != 2 || tr.Rows != 4 || len(tr.Skips.Rows) != 0 {
		t.Errorf("%+v", tr)
	}
}

func TestReadTraceRefusesOtherFiles(t *testing.T) {
	for _, text := range []string{"", "a,b\n1,2\n", "\x1f\x8bbroken"} {
		if _, err := readTrace(strings.NewReader(text), catalog{}, 0); err == nil {
			t.Errorf("%q was read as a trace", text)
		}
		if _, err := readCatalog(strings.NewReader(text), "GBP"); err == nil {
			t.Errorf("%q was read as a catalogue", text)
		}
	}
}

func TestStockIsAShareRoundedDown(t *testing.T) {
	tr := readTest(t, 0)
	for factor, want := range map[string]map[string]int64{
		"1.0": {"10A": 10, "10B": 7, "10C": 1},
		"0.9": {"10A": 9, "10B": 6, "10C": 0},
		"0.7": {"10A": 7, "10B": 4, "10C": 0},
		"0":   {"10A": 0, "10B": 0, "10C": 0},
	} {
		f, err := parseFactor(factor)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.stock(f); !maps.Equal(got, want) {
			t.Errorf("factor %s: %v, want %v", factor, got, want)
		}
	}
	for _, bad := range []string{"", "-1", "x", "1001", "1e9"} {
		if _, err := parseFactor(bad); err == nil {
			t.Errorf("factor %q was accepted", bad)
		}
	}
}

// traces are those at hand: the embedded week, and the whole files where a
// checkout has them beside it.
func traces(t *testing.T) map[string][2][]byte {
	t.Helper()
	all := map[string][2][]byte{"sample": {sample.OrdersWeek, sample.CatalogWeek}}
	dir := filepath.Join("..", "..", "..", "shared", "data")
	orders, err := os.ReadFile(filepath.Join(dir, "orders-public.csv.gz"))
	if err != nil {
		return all
	}
	goods, err := os.ReadFile(filepath.Join(dir, "catalog-onlineretail.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	all["public"] = [2][]byte{orders, goods}
	return all
}

func TestRealTracesAddUp(t *testing.T) {
	for name, files := range traces(t) {
		goods, err := readCatalog(bytes.NewReader(files[1]), "GBP")
		if err != nil {
			t.Fatal(name, err)
		}
		tr, err := readTrace(bytes.NewReader(files[0]), goods, 0)
		if err != nil {
			t.Fatal(name, err)
		}
		rows := 0
		for _, n := range tr.Skips.Rows {
			rows += n
		}
		rows += len(tr.Cancels)
		wantTotals(t, name, files[0], tr)
		units := int64(0)
		for _, inv := range tr.Invoices {
			rows += inv.rows
			for _, l := range inv.Lines {
				units += l.Quantity
			}
		}
		if rows != tr.Rows || tr.Skips.Rows[skipUnknownSKU] > 0 ||
			tr.Skips.Rows[skipBadRow] > 0 {
			t.Errorf("%s: %d rows bought or skipped of %d: %v", name, rows, tr.Rows, tr.Skips)
		}
		for _, n := range tr.stock(big.NewRat(1, 1)) {
			units -= n
		}
		if units != 0 || len(tr.Invoices) < 300 {
			t.Errorf("%s: %d invoices, stock differs by %d", name, len(tr.Invoices), units)
		}
	}
}

// wantTotals adds up a file's sales and cancellations by itself, exactly, and
// compares them with the trace.
func wantTotals(t *testing.T, name string, orders []byte, tr *trace) {
	t.Helper()
	sum := map[string]*big.Rat{"S": new(big.Rat), "C": new(big.Rat)}
	if err := table(bytes.NewReader(orders), []string{"kind"}, func(row map[string]string) {
		price, ok1 := new(big.Rat).SetString(row["price"])
		quantity, ok2 := new(big.Rat).SetString(row["qty"])
		if total := sum[row["kind"]]; total != nil && ok1 && ok2 {
			total.Add(total, price.Mul(price, quantity))
		}
	}); err != nil {
		t.Fatal(err)
	}
	sales, refunds := tr.Skips.Sales, tr.Skips.Refunds
	for _, inv := range tr.Invoices {
		sales += inv.Amount
	}
	for _, c := range tr.Cancels {
		refunds += c.Amount
	}
	for kind, total := range map[string]int64{"S": sales, "C": -refunds} {
		got := decimal(api.Money{Amount: total, Currency: "GBP"})
		if want := sum[kind].FloatString(2); got != want {
			t.Errorf("%s: rows of kind %s come to %s, want %s", name, kind, got, want)
		}
	}
}

func TestReadWorth(t *testing.T) {
	for _, test := range []struct {
		price, quantity string
		digits          int
		want            int64
		ok              bool
	}{
		{"2.55", "6", 2, 1530, true}, {"2.55", "-4", 2, -1020, true}, {"0", "3", 2, 0, true},
		{"0.001", "1", 2, 0, true}, {"0.005", "1", 2, 1, true}, {"0.005", "-1", 2, -1, true},
		{"-11062.06", "1", 2, -1106206, true}, {"3", "7", 0, 21, true}, {"1.5", "1", 0, 2, true},
		{"10000000000", "1", 2, api.MaxAmount, true}, {"10000000000.01", "1", 2, 0, false},
		{"1", "-9223372036854775808", 2, 0, false}, {"1", "9223372036854775808", 2, 0, false},
		{"1e9", "1", 2, 0, false}, {"1/3", "1", 2, 0, false}, {"", "1", 2, 0, false},
		{"1.2.3", "1", 2, 0, false}, {strings.Repeat("9", 40), "1", 2, 0, false},
	} {
		w, ok := readWorth(map[string]string{"price": test.price, "qty": test.quantity}, test.digits)
		if w.amount != test.want || ok != test.ok || w.price == nil {
			t.Errorf("%s × %s: %d %v, want %d %v", test.price, test.quantity, w.amount, ok, test.want,
				test.ok)
		}
	}
}

func TestSampleSaysWhereItComesFrom(t *testing.T) {
	for _, want := range []string{"10.1057/dbm.2012.17", "CC BY 4.0", "AFL-3.0", "Magento"} {
		if !strings.Contains(sample.Source, want) {
			t.Errorf("SOURCE.md does not say %q", want)
		}
	}
	rows, sizes := 0, map[string]bool{}
	err := table(bytes.NewReader(sample.Luma), []string{"sku", "size", "color"},
		func(row map[string]string) {
			rows++
			sizes[row["size"]] = true
		})
	if err != nil || rows != 1847 || !sizes["XL"] {
		t.Errorf("luma: %d rows, %v", rows, err)
	}
}
