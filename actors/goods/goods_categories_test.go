package goods_test

import (
	"reflect"
	"strings"
	"testing"

	"ordo/actors/actorstest"
	"ordo/actors/goods"
	"ordo/api"
)

// ACCEPT C3
func TestListCategories(t *testing.T) {
	a := actorstest.New(t, goods.Spec())
	put(a,
		api.Product{ID: "a", Name: "A", Categories: []string{"Men/Tops/Shirts", "Men/Blue"}},
		api.Product{ID: "b", Name: "B", Categories: []string{"Men-only", "Men/Tops"}},
		api.Product{ID: "c", Name: "C", Categories: []string{"Home/Mugs/Blue", "Men0"}},
		api.Product{ID: "d", Name: "D", Categories: []string{"Menswear", "Ärmel/Kurz"}})
	for under, want := range map[string][]string{
		"":                {"Home", "Men", "Men-only", "Men0", "Menswear", "Ärmel"},
		"Men":             {"Men/Blue", "Men/Tops"},
		"Men/":            {"Men/Blue", "Men/Tops"},
		"Men/Tops":        {"Men/Tops/Shirts"},
		"Men/Tops/Shirts": nil,
		"Me":              nil,
		"Ärmel":           {"Ärmel/Kurz"},
	} {
		for _, limit := range []int{0, 1, 2, 3} {
			if got := categories(a, under, limit); !reflect.DeepEqual(got, want) {
				t.Errorf("under %q by %d: %q, want %q", under, limit, got, want)
			}
		}
	}
	// What has no product any more is not listed.
	put(a, api.Product{ID: "c", Name: "C"})
	if got := categories(a, "Home", 0); got != nil {
		t.Errorf("left over: %q", got)
	}
	for i, q := range []api.ListCategories{{Under: strings.Repeat("x", 201)},
		{Page: api.Page{Cursor: strings.Repeat("x", 201)}}} {
		if r := a.Ask(&q, &api.CategoryList{}); r == nil || r.Code != api.CodeInvalid {
			t.Errorf("case %d: %v", i, r)
		}
	}
}

// categories are all directly below a path, page by page.
func categories(a *actorstest.Actor, under string, limit int) (all []string) {
	a.T.Helper()
	q := api.ListCategories{Under: under, Page: api.Page{Limit: limit}}
	for range 100 {
		var list api.CategoryList
		if r := a.Ask(&q, &list); r != nil {
			a.T.Fatalf("categories of %q: %v", under, r)
		}
		if len(list.Categories) > q.Size() {
			a.T.Fatalf("a page of %d", len(list.Categories))
		}
		all = append(all, list.Categories...)
		if q.Cursor = list.Next; q.Cursor == "" {
			return all
		}
	}
	a.T.Fatalf("categories of %q go round in a circle", under)
	return nil
}
