// Package e2e holds the tests of the whole shop: the built binary, its HTTP
// API and its NATS, from outside; and the rules that hold for all code.
package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// domains are the packages that must not know of each other.
var domains = []string{"goods", "coupon", "wallet", "payment", "learning", "shipping", "user",
	"order", "journal"}

// mayImport says which of ordo's packages each package may import. A package
// without a row may import none but api.
var mayImport = map[string][]string{
	"api":               {},
	"stores":            {"api"},
	"bus":               {"api", "bus/failpoint", "bus/tracing"},
	"bus/failpoint":     {},
	"api/schema":        {"api"},
	"bus/tracing":       {},
	"actors":            {"api", "api/schema", "bus", "bus/failpoint", "bus/tracing", "stores"},
	"actors/actorstest": {"api", "bus", "actors"},
	"actors/simulate": {"api", "bus", "stores", "actors", "actors/goods", "actors/coupon",
		"actors/wallet", "actors/payment", "actors/payment/gateway", "actors/learning",
		"actors/shipping", "actors/user", "actors/order", "actors/journal"},
	"actors/audit":   {"api", "bus", "stores"},
	"actors/history": {"api", "bus", "stores", "actors"},
	"actors/settle":  {"api"},
	"api/rest": {"api", "bus", "bus/tracing", "stores", "actors/audit", "actors/history",
		"actors/settle", "actors/payment/gateway", "actors/journal/webhook", "api/origin"},
	"api/origin": {},
	"api/web":    {"api", "api/web/call", "api/web/page"},

	"api/web/call":    {"api"},
	"api/web/page":    {"api", "api/web/call"},
	"api/web/console": {"api", "api/origin", "api/web/call", "api/web/page"},

	"actors/payment/alipay":  {"api"},
	"actors/payment/stripe":  {"api"},
	"actors/payment/gateway": {"api", "actors/payment/alipay", "actors/payment/stripe"},
	"actors/journal/webhook": {"api"},
	"actors/payment/sandbox": {"api", "api/origin", "stores", "actors/payment/alipay"},
}

// TestImportRule: api is imported by everyone and imports nothing of ordo; a
// domain imports api and actors, never another domain; only cmd/ordo wires, and
// the simulation.
func TestImportRule(t *testing.T) {
	root := ".."
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if strings.HasSuffix(path, "_test.go") || dir == "cmd/ordo" {
			return nil
		}
		seen++
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			target, ours := strings.CutPrefix(name, "ordo/")
			if ours && !slices.Contains(allowed(dir), target) {
				t.Errorf("%s imports ordo/%s", rel, target)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 30 {
		t.Errorf("only %d files looked at", seen)
	}
}

func allowed(dir string) []string {
	if rows, ok := mayImport[dir]; ok {
		return rows
	}
	if domain, ok := strings.CutPrefix(dir, "actors/"); ok && slices.Contains(domains, domain) {
		return []string{"api", "actors"}
	}
	return nil
}

// TestSameFiles: every domain has the same files.
func TestSameFiles(t *testing.T) {
	for _, d := range domains {
		for _, name := range []string{d + ".go", "schema.sql", "handle.go", "query.go", d + "_test.go"} {
			if ok, err := filepath.Glob(filepath.Join("..", "actors", d, name)); err != nil || len(ok) == 0 {
				t.Errorf("actors/%s has no %s", d, name)
			}
		}
	}
}
