package rest_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

const courseHeader = "course,title,units,section,section_id,seats,meetings\n"

var fifty = gbp(5000)

// ACCEPT L1
func TestParseCourses(t *testing.T) {
	long := strings.Repeat("x", 1617)
	courses, products, err := rest.ParseCourses(strings.NewReader(courseHeader+
		"AAS 10,Introduction,4,A01,085689,34,"+long+"\n"+
		"AAS 10,Introduction,4,A02,085690,9999,\n"+
		"CSE 3,,,,1,0,\n"), "GBP", &fifty)
	if err != nil {
		t.Fatal(err)
	}
	if len(courses) != 3 || courses[0].Title != "AAS 10 Introduction" || courses[0].Seats != 34 ||
		len(courses[0].Details["meetings"]) != 500 || courses[1].Seats != api.NoSeatLimit ||
		courses[2].Title != "CSE 3" {
		t.Errorf("courses are %+v", courses)
	}
	if len(products) != 2 || len(products[0].SKUs) != 2 {
		t.Fatalf("products are %+v", products)
	}
	sku := products[0].SKUs[0]
	if sku.ID != "085689" || sku.Price != gbp(5000) || sku.Kind != api.KindCourse ||
		sku.Policy != api.PolicyNone || sku.MaxPerOrder != 1 || sku.OffSale ||
		!products[1].SKUs[0].OffSale {
		t.Errorf("SKU is %+v", sku)
	}
}

// ACCEPT C8: an error per bad row, and a missing column.
func TestParseCoursesNamesBadRows(t *testing.T) {
	_, _, err := rest.ParseCourses(strings.NewReader(courseHeader+
		"A,T,4,A01,1,30,\n"+ // 2: good
		"A,T,4,A01,1,30,\n"+ // 3: twice
		"<,T,4,A01,2,-1,\n"+ // 4: two errors
		"A,T\n"), "GBP", &fifty) // 5: too few fields
	refusal := api.AsError(err)
	if refusal == nil || refusal.Code != api.CodeInvalid || refusal.Place != "rows[3].section_id" {
		t.Fatalf("got %v", err)
	}
	var rows []rest.RowError
	if err := json.Unmarshal(refusal.Data, &rows); err != nil {
		t.Fatal(err)
	}
	want := []int{3, 4, 4, 5}
	if len(rows) != len(want) {
		t.Fatalf("got %+v", rows)
	}
	for i := range want {
		if rows[i].Row != want[i] {
			t.Errorf("row %d, want %d", rows[i].Row, want[i])
		}
	}
	for _, header := range []string{"", "course,title,seats\n"} {
		_, _, err := rest.ParseCourses(strings.NewReader(header), "GBP", &fifty)
		if api.AsError(err) == nil {
			t.Errorf("header %q: %v", header, err)
		}
	}
}

// ACCEPT C8: what the actors would refuse is refused with its row, and so is a
// course that would be sold for nothing because nobody said its price.
func TestParseCoursesRefusesWhatActorsDo(t *testing.T) {
	const good = "A,T,4,A01,1,30,,1.00\n"
	header := strings.TrimSuffix(courseHeader, "\n") + ",price\n"
	for name, c := range map[string]struct{ bad, column string }{
		"a bad byte":          {"A,T,4,A01,2,30,\xff,1\n", "meetings"},
		"a bad byte in title": {"A,T\xff,4,A01,2,30,,1\n", "title"},
		"a control character": {"A,T,4\x01,A01,2,30,,1\n", "units"},
		"two lines":           {"A,T,4,\"A\n1\",2,30,,1\n", "section"},
		"no price":            {"A,T,4,A01,2,30,,\n", "price"},
		"a bad price":         {"A,T,4,A01,2,30,,-1\n", "price"},
		"too many seats":      {"A,T,4,A01,2,1000001,,1\n", "seats"},
		"too few fields":      {"A,T,4\n", ""},
	} {
		_, _, err := rest.ParseCourses(strings.NewReader(header+good+c.bad), "GBP", nil)
		refusal := api.AsError(err)
		want := strings.TrimSuffix("rows[3]."+c.column, ".")
		if refusal == nil || refusal.Place != want {
			t.Errorf("%s: %v, want it at %s", name, err, want)
		}
	}
	var many strings.Builder
	many.WriteString(header)
	for i := range 501 {
		fmt.Fprintf(&many, "A,T,4,A01,%d,30,,1\n", i)
	}
	_, _, err := rest.ParseCourses(strings.NewReader(many.String()), "GBP", nil)
	if refusal := api.AsError(err); refusal == nil || refusal.Place != "rows[2].course" {
		t.Errorf("501 sections of a course: %v", err)
	}
	courses, _, err := rest.ParseCourses(strings.NewReader(header+good+
		"\"B\",\"T\",4,\"A01\",2,30,,0.00\n"), "GBP", nil)
	if err != nil || len(courses) != 2 {
		t.Errorf("a free course: %v", err)
	}
}

// ACCEPT L1 C8: rows that only the actors can refuse are refused before anything
// is sent, also those that would come in a later message.
func TestImportOfCoursesIsAllOrNothing(t *testing.T) {
	s := newShop(t)
	list := func(last string) string {
		var b strings.Builder
		b.WriteString(courseHeader)
		for i := range 600 {
			fmt.Fprintf(&b, "NEW %d,T,4,A01,%d,30,%s\n", i, i, strings.Repeat("é", 500))
		}
		return b.String() + last + "\n"
	}
	const path = "/admin/v1/courses:import?price=50.00"
	s.admin("POST", path, courseHeader+"AAS 10,Introduction,4,A01,full,2,\n").want(200)
	for i, name := range []string{"ann", "bob"} {
		if err := s.edge.Do(t.Context(), name, &api.Enrol{Step: api.Step{Order: name, Name: "enrol",
			Occurrence: i}, User: name, Lines: []api.CartTake{{SKU: "full", Quantity: 1}}},
			nil); err != nil {
			t.Fatal(err)
		}
	}
	for last, place := range map[string]string{
		"AAS 10,Introduction,4,A01,full,1,":  "rows[602].seats",
		"AAS 10,Introduction,4,A01,mug,1,":   "rows[602].section_id",
		"AAS 10,Introduction,4,\xff,last,1,": "rows[602].section",
	} {
		if p := s.admin("POST", path, list(last)).refused(422, api.CodeInvalid); p.Place != place {
			t.Errorf("%s: at %s: %s", last, p.Place, p.Detail)
		}
		if l := decode[api.CourseList](s.send("GET", "/v1/courses", nil).want(200)); len(
			l.Courses) != 1 || l.Courses[0].Enrolled != 2 || l.Courses[0].Seats != 2 {
			t.Errorf("%s: courses are %+v", last, l)
		}
	}
	s.admin("POST", path, list("AAS 10,Introduction,4,A01,full,3,")).want(200)
	if c := decode[api.Course](s.send("GET", "/v1/courses/599", nil).want(200)); c.Seats != 30 {
		t.Errorf("the last course is %+v", c)
	}
	// The same of products.
	csv := "sku,spu,name,price\nnew,new,New,1\nmug,new,Mug,1\n"
	p := s.admin("POST", "/admin/v1/products:import", csv).refused(422, api.CodeInvalid)
	if p.Place != "rows[3].sku" {
		t.Errorf("at %s: %s", p.Place, p.Detail)
	}
	s.send("GET", "/v1/skus/new", nil).want(404)
}

// ACCEPT L1: a university's list of a term, where it is at hand, and a part of
// it put on sale.
func TestImportCourses(t *testing.T) {
	text := courseHeader + "AAS 10,Introduction,4,A01,085689,34,\nAAS 11,More,4,A01,085691,9999,\n"
	f, err := os.Open("../../../shared/data/courses-ucsd-fa22.csv.gz")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err == nil {
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		courses, _, err := rest.ParseCourses(z, "GBP", &fifty)
		if err != nil || len(courses) != 8647 {
			t.Errorf("%d courses: %v", len(courses), err)
		}
	}
	s := newShop(t)
	got := decode[struct{ Courses int }](s.admin("POST", "/admin/v1/courses:import?price=50.00", text).
		want(200))
	if got.Courses != 2 {
		t.Errorf("imported %+v", got)
	}
	c := decode[api.Course](s.send("GET", "/v1/courses/085689", nil).want(200))
	if c.Seats != 34 || c.Enrolled != 0 {
		t.Errorf("course is %+v", c)
	}
	if list := decode[api.CourseList](s.send("GET", "/v1/courses", nil).want(200)); len(list.
		Courses) != 2 {
		t.Errorf("courses are %+v", list)
	}
	sku := decode[api.SKU](s.send("GET", "/v1/skus/085689", nil).want(200))
	if sku.Price != gbp(5000) || sku.Kind != api.KindCourse {
		t.Errorf("SKU is %+v", sku)
	}
	s.send("GET", "/v1/courses/none", nil).want(404)
	s.admin("POST", "/admin/v1/courses:import?price=x", text).refused(422, api.CodeInvalid)
	ann := s.shopper("ann@example.com")
	ann.call("POST", "/admin/v1/courses:import", text).want(403)
	if list := decode[api.EnrolmentList](ann.call("GET", "/v1/enrolments", nil).want(200)); len(list.
		Enrolments) != 0 {
		t.Errorf("enrolments are %+v", list)
	}
}
