package rest_test

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"ordo/api"
	"ordo/api/rest"
)

const courseHeader = "course,title,units,section,section_id,seats,meetings\n"

// ACCEPT L1
func TestParseCourses(t *testing.T) {
	long := strings.Repeat("x", 1617)
	courses, products, err := rest.ParseCourses(strings.NewReader(courseHeader+
		"AAS 10,Introduction,4,A01,085689,34,"+long+"\n"+
		"AAS 10,Introduction,4,A02,085690,9999,\n"+
		"CSE 3,,,,1,0,\n"), gbp(5000))
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
		"A,T\n"), gbp(0)) // 5: too few fields
	refusal := api.AsError(err)
	if refusal == nil || refusal.Code != api.CodeInvalid || refusal.Place != "rows[3]" {
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
		if _, _, err := rest.ParseCourses(strings.NewReader(header), gbp(0)); api.AsError(err) == nil {
			t.Errorf("header %q: %v", header, err)
		}
	}
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
		courses, _, err := rest.ParseCourses(z, gbp(100))
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
