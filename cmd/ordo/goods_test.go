package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

// remotely runs a command against a shop.
func (a *admin) remotely(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = run(append(args, "--server", a.base, "--admin-token", a.token), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// catalogue has all that makes CSV hard: quotes, commas, other
// scripts, a byte order mark and CRLF.
const catalogue = "\ufeffsku,spu,name,product_name,price,stock,categories,option:colour,attribute:care\r\n" +
	"T-1,T,\"Tea, \"\"green\"\"\",Tea,8.50,100,Kitchen|Tea,green,\"dry, cool\"\r\n" +
	"T-2,T,绿茶,Tea,9.50,5,Kitchen|Tea,红色,\"dry, cool\"\r\n" +
	"M-1,M,Mug,,0.99,0,,,\r\n"

// ACCEPT C8
// A catalogue that was imported is exported as it is, and importing the export
// changes nothing. Bad rows are named with their line, and change nothing.
func TestGoodsImportAndExport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "goods.csv")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	payShop(t, t.TempDir(), func(a *admin) {
		export := func() string {
			t.Helper()
			code, out, errs := a.remotely("goods", "export")
			if code != exitOK {
				t.Fatalf("export: exit %d: %s", code, errs)
			}
			return out
		}
		write(catalogue)
		if code, out, errs := a.remotely("goods", "import", file, "--dry-run"); code != exitOK ||
			!strings.Contains(out, "nothing is changed: 3 rows, 3 SKUs of 2 products") {
			t.Errorf("dry run: exit %d: %s%s", code, out, errs)
		}
		if out := export(); strings.Count(out, "\n") != 1 {
			t.Errorf("a dry run imported\n%s", out)
		}
		if code, out, errs := a.remotely("goods", "import", file, "--json"); code != exitOK ||
			out != `{"products":2,"skus":3,"rows":3}`+"\n" {
			t.Errorf("import: exit %d: %s%s", code, out, errs)
		}
		first := export()
		for _, want := range []string{`"Tea, ""green"""`, "绿茶", "红色", "\"dry, cool\"", "Kitchen|Tea"} {
			if !strings.Contains(first, want) {
				t.Errorf("%q is not in\n%s", want, first)
			}
		}
		back := filepath.Join(dir, "back.csv")
		if code, _, errs := a.remotely("goods", "export", "--out", back); code != exitOK {
			t.Fatalf("exit %d: %s", code, errs)
		}
		if code, out, errs := a.remotely("goods", "import", back); code != exitOK {
			t.Errorf("the export: exit %d: %s%s", code, out, errs)
		}
		if again := export(); again != first {
			t.Errorf("after a round trip:\n%s\nnot\n%s", again, first)
		}
		write("sku,spu,name,price\nA,P,a,1.00\nB,P,b,cheap\n,P,c,1.00\n")
		code, out, _ := a.remotely("goods", "import", file)
		for _, want := range []string{file + ":3: price: ", file + ":4: sku: ", "nothing is imported"} {
			if code != exitFailed || !strings.Contains(out, want) {
				t.Errorf("%q is not in exit %d: %s", want, code, out)
			}
		}
		if export() != first {
			t.Error("a refused file changed the catalogue")
		}
	})
}

// ACCEPT C7 C8
// Stock is received once under a key, adjusted with a reason, and every change
// is in the ledger; coupons go to the users named, once each.
func TestStockAndCouponsFromTheCommandLine(t *testing.T) {
	payShop(t, t.TempDir(), func(a *admin) {
		ctx := t.Context()
		if err := a.post(ctx, "/products:import", "", []byte("sku,spu,name,price,stock\nM,M,Mug,1.00,5\n"),
			nil); err != nil {
			t.Fatal(err)
		}
		users, err := a.users(ctx, []person{{"ann@example.com", "Ann"}, {"bob@example.com", "Bob"}})
		if err != nil {
			t.Fatal(err)
		}
		ok := func(want string, args ...string) {
			t.Helper()
			if code, out, errs := a.remotely(args...); code != exitOK || !strings.Contains(out, want) {
				t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
			}
		}
		fails := func(want string, args ...string) {
			t.Helper()
			if code, _, errs := a.remotely(args...); code != exitFailed || !strings.Contains(errs, want) {
				t.Errorf("%v: exit %d: %s", args, code, errs)
			}
		}
		for range 2 {
			ok("M: 12 in stock", "goods", "receive", "M", "7", "--key", "delivery-1", "--reason", "van")
		}
		fails("unknown_sku", "goods", "receive", "X", "1")
		if code, _, errs := a.remotely("goods", "adjust", "M", "1"); code != exitUsage {
			t.Errorf("no reason: exit %d: %s", code, errs)
		}
		ok("M: 10 in stock", "goods", "adjust", "M", "-2", "--reason", "broken")
		ok("broken", "goods", "ledger", "M")
		_, out, _ := a.remotely("goods", "ledger", "M", "--json")
		sum := int64(0)
		for line := range strings.Lines(out) {
			var e api.StockEntry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			sum += e.Stock
		}
		if sum != 10 {
			t.Errorf("the ledger comes to %d:\n%s", sum, out)
		}

		issue := []string{"coupon", "issue", "--name", "Welcome", "--amount", "5.00"}
		fails("nobody@example.com", append(issue, "--user", "ann@example.com,nobody@example.com")...)
		for range 2 {
			ok(users[0].ID, append(issue, "--user", "ann@example.com,"+users[0].ID, "--user",
				"bob@example.com", "--minimum", "20", "--key", "spring")...)
		}
		for _, user := range []string{"ann@example.com", users[1].ID} {
			_, out, errs := a.remotely("coupon", "ls", user)
			if strings.Count(out, "Welcome") != 1 || !strings.Contains(out, "20.00 GBP") {
				t.Errorf("%s has\n%s%s", user, out, errs)
			}
		}
		if code, _, _ := a.remotely(append(issue, "--user", "x", "--amount", "5,00")...); code != exitUsage {
			t.Errorf("5,00: exit %d", code)
		}
	})
}

// A change whose answer is lost may have been made. It is said so, with the key by
// which it can be asked for again; a refusal is what it is.
func TestChangesWithoutAnAnswer(t *testing.T) {
	for _, refused := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		key := ""
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refused {
				w.WriteHeader(http.StatusConflict)
				return
			}
			key = r.Header.Get("Idempotency-Key")
			cancel()
			panic(http.ErrAbortHandler)
		}))
		c := GoodsReceiveCmd{Remote: Remote{Server: s.URL}, SKU: "M", Quantity: 7}
		err := c.Run(ctx, &terminal{Out: io.Discard})
		s.Close()
		if told := err != nil && strings.Contains(err.Error(), "may have been done") &&
			strings.Contains(err.Error(), "--key "+key+","); err == nil || told == refused {
			t.Errorf("refused %v, key %q: %v", refused, key, err)
		}
		cancel()
	}
}

// A large catalogue is cut between products. Together the parts are the file,
// and each part's rows know their lines.
func TestSplitCSV(t *testing.T) {
	var b strings.Builder
	b.WriteString("sku,spu,\"na\nme\",price\n") // two lines
	for i := range 9000 {
		fmt.Fprintf(&b, "S-%d,P-%d,\"two\nlines %s\",1.00\n", i, i/3, strings.Repeat("x", 100))
	}
	text := []byte(b.String())
	const most = 512 << 10
	parts, err := splitCSV(text, most)
	if err != nil || len(parts) < 3 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	header := len("sku,spu,\"na\nme\",price\n")
	var joined []byte
	for i, p := range parts {
		body := p.text[header:]
		if len(p.text) > most || !strings.HasPrefix(string(p.text), "sku,spu,") {
			t.Errorf("part %d has %d bytes: %.30s", i, len(p.text), p.text)
		}
		// A line of the part is that line of the file, so many later.
		lines, all := strings.Split(string(p.text), "\n"), strings.Split(string(text), "\n")
		if lines[2] != all[2+p.skipped] {
			t.Errorf("part %d, %d skipped: %q is not %q", i, p.skipped, lines[2], all[2+p.skipped])
		}
		var first int
		if _, err := fmt.Sscanf(string(body), "S-%d,", &first); err != nil || first%3 != 0 {
			t.Errorf("part %d begins inside of a product: %.20s", i, body)
		}
		joined = append(joined, body...)
	}
	if !bytes.Equal(joined, text[header:]) {
		t.Error("the parts are not the file")
	}
	apart := append(bytes.Clone(text), "S-X,P-0,x,1.00\n"...)
	if _, err := splitCSV(apart, most); err == nil || !strings.Contains(err.Error(), `"P-0"`) {
		t.Errorf("rows of P-0 stand apart: %v", err)
	}
	one := bytes.ReplaceAll(text, []byte(",P-"), []byte(",P,"))
	if _, err := splitCSV(one, most); err == nil || !strings.Contains(err.Error(), "product") {
		t.Errorf("one huge product: %v", err)
	}
	if small, err := splitCSV([]byte("\"broken"), rest.MaxImport); err != nil || len(small) != 1 {
		t.Errorf("a small file is the shop's to judge: %v", err)
	}
}
