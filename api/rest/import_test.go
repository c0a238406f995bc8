package rest_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

func gbp(n int64) api.Money { return api.Money{Amount: n, Currency: "GBP"} }

// ACCEPT C8
func TestParseCSV(t *testing.T) {
	products, rows, err := rest.ParseCSV(strings.NewReader("\ufeffsku,spu,name,product_name,price,"+
		"stock,categories,option:size,attribute:fabric,max_per_order,max_per_user,picture\n"+
		"S-1,shirt,\"Shirt, small\",Shirt,12.50,7,Men/Tops|Sale,S,cotton,2,3,/s.png\n"+
		"M-1,mug,Mug,,3,0,,,,,,\n"+
		"S-2,shirt,Shirt large,,12.5,,New|Sale,L,,,,\n"), "GBP")
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Product{
		{ID: "shirt", Name: "Shirt", Categories: []string{"Men/Tops", "Sale", "New"},
			Attributes: map[string]string{"fabric": "cotton"}, SKUs: []api.SKU{
				{ID: "S-1", Product: "shirt", Name: "Shirt, small", Price: gbp(1250), Stock: 7,
					Options: map[string]string{"size": "S"}, Picture: "/s.png", MaxPerOrder: 2,
					MaxPerUser: 3},
				{ID: "S-2", Product: "shirt", Name: "Shirt large", Price: gbp(1250),
					Options: map[string]string{"size": "L"}}}},
		{ID: "mug", Name: "Mug", SKUs: []api.SKU{
			{ID: "M-1", Product: "mug", Name: "Mug", Price: gbp(300)}}},
	}
	if rows != 3 || !reflect.DeepEqual(products, want) {
		t.Errorf("%d rows\n got %+v\nwant %+v", rows, products, want)
	}
}

// ACCEPT C8: an error per bad row.
func TestParseCSVNamesBadRows(t *testing.T) {
	_, _, err := rest.ParseCSV(strings.NewReader("sku,spu,name,price,stock,picture,categories\n"+
		"a,p,A,1.00,1,,\n"+ // 2: good
		"b,p,B,1.005,1,,\n"+ // 3
		"c,p,,1.00,-1,,\n"+ // 4: two errors
		"a,q,A,1.00,1,,\n"+ // 5: twice
		"d,q,D\n"+ // 6: too few fields
		"é,q,E,1.00,x,ftp://x/y,a//b\n"+ // 7: four errors
		"f,q,F,-1.00,,,\n"), "GBP") // 8
	refusal := api.AsError(err)
	if refusal == nil || refusal.Code != api.CodeInvalid {
		t.Fatalf("got %v", err)
	}
	var got []rest.RowError
	if err := json.Unmarshal(refusal.Data, &got); err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, e := range got {
		if e.Message == "" {
			t.Errorf("row %d has no message", e.Row)
		}
		places = append(places, fmt.Sprintf("%d %s", e.Row, e.Place))
	}
	want := []string{"3 price", "4 name", "4 stock", "5 sku", "6 ", "7 sku", "7 stock", "7 picture",
		"7 categories", "8 price"}
	if !reflect.DeepEqual(places, want) {
		t.Errorf("got %q\nwant %q", places, want)
	}
	if refusal.Place != "rows[3].price" {
		t.Errorf("place %q", refusal.Place)
	}
}

func TestParseCSVHeader(t *testing.T) {
	for _, c := range []struct{ name, csv, place string }{
		{"empty", "", ""},
		{"column missing", "sku,spu,name\n", "rows[1].price"},
		{"column unknown", "sku,spu,name,price,colour\n", "rows[1].colour"},
		{"column twice", "sku,spu,name,price,sku\n", "rows[1].sku"},
		{"option without a name", "sku,spu,name,price,option:\n", "rows[1].option:"},
		{"quotes", "sku,spu,name,price\na,\"b\n", "rows[2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := rest.ParseCSV(strings.NewReader(c.csv), "GBP")
			refusal := api.AsError(err)
			if refusal == nil || refusal.Code != api.CodeInvalid || refusal.Place != c.place {
				t.Errorf("got %+v", refusal)
			}
		})
	}
}

func TestParseCSVLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString("sku,spu,name,price\n")
	for i := range 501 {
		fmt.Fprintf(&b, "s%d,p,S,1.00\n", i)
	}
	if _, _, err := rest.ParseCSV(strings.NewReader(b.String()), "GBP"); api.AsError(err) == nil {
		t.Error("501 SKUs of one product")
	}
	b.Reset()
	b.WriteString("sku,spu,name,price\n")
	for range 200 {
		b.WriteString("x,y,,\n")
	}
	_, _, err := rest.ParseCSV(strings.NewReader(b.String()), "GBP")
	var all []rest.RowError
	if err := json.Unmarshal(api.AsError(err).Data, &all); err != nil || len(all) != 100 {
		t.Errorf("%d errors listed: %v", len(all), err)
	}
}

// No input makes the parser panic or return what it refuses.
func FuzzParseCSV(f *testing.F) {
	f.Add("sku,spu,name,price\na,b,c,1.00\n")
	f.Add("sku,spu,name,price,option:x,attribute:y\na,b,c,1.00,\"\n")
	f.Fuzz(func(t *testing.T, s string) {
		products, rows, err := rest.ParseCSV(strings.NewReader(s), "GBP")
		if err != nil && api.AsError(err) == nil {
			t.Fatalf("a fault: %v", err)
		}
		n := 0
		for _, p := range products {
			n += len(p.SKUs)
		}
		if err == nil && n != rows {
			t.Errorf("%d SKUs of %d rows", n, rows)
		}
	})
}
