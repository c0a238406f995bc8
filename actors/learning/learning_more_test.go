package learning_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ordo/api"
)

// ACCEPT L1
func TestCoursesArePutAllOrNone(t *testing.T) {
	full := course("full", 1)
	full.Details = map[string]string{"meetings": "TuTh 14:00"}
	a := given(t, full)
	enrol(a, enrolment("ord_1", takes("full")...))
	many := make([]api.Course, 501)
	details := map[string]string{}
	for i := range many {
		many[i] = course(fmt.Sprint("c", i), 1)
		if i < 21 {
			details[fmt.Sprint(i)] = ""
		}
	}
	with := func(change func(c *api.Course)) []api.Course {
		c := course("bad", 5)
		change(&c)
		return []api.Course{course("new", 5), c}
	}
	for i, c := range []struct {
		place   string
		courses []api.Course
	}{
		{"courses", nil},
		{"courses", many},
		{"courses[1].sku", with(func(c *api.Course) { c.SKU = "" })},
		{"courses[1].sku", with(func(c *api.Course) { c.SKU = "a\x00b" })},
		{"courses[1].sku", with(func(c *api.Course) { c.SKU = " a" })},
		{"courses[1].sku", with(func(c *api.Course) { c.SKU = strings.Repeat("x", 65) })},
		{"courses[1].sku", with(func(c *api.Course) { c.SKU = "new" })}, // twice
		{"courses[1].title", with(func(c *api.Course) { c.Title = " " })},
		{"courses[1].title", with(func(c *api.Course) { c.Title = strings.Repeat("é", 201) })},
		{"courses[1].seats", with(func(c *api.Course) { c.Seats = -2 })},
		{"courses[1].seats", with(func(c *api.Course) { c.Seats = api.MaxSeats + 1 })},
		{"courses[1].seats", with(func(c *api.Course) { c.SKU, c.Seats = "full", 0 })},
		{"courses[1].details", with(func(c *api.Course) { c.Details = details })},
		{"courses[1].details", with(func(c *api.Course) {
			c.Details = map[string]string{"": "x"}
		})},
		{"courses[1].details", with(func(c *api.Course) {
			c.Details = map[string]string{"x": strings.Repeat("x", 501)}
		})},
	} {
		code := api.CodeInvalid
		if len(c.courses) > 500 {
			code = api.CodeTooLarge
		}
		id := fmt.Sprint("bad-", i)
		if r := a.Edge(id, &api.PutCourses{Courses: c.courses}).Refusal; r == nil ||
			r.Place != c.place || r.Code != code {
			t.Errorf("%s, case %d: %v", c.place, i, r)
		}
	}
	var list api.CourseList
	if r := a.Ask(&api.ListCourses{}, &list); r != nil || len(list.Courses) != 1 {
		t.Fatalf("%v, courses %+v", r, list.Courses)
	}
	full.Enrolled = 1
	if !reflect.DeepEqual(list.Courses[0], full) {
		t.Errorf("course %+v, want %+v", list.Courses[0], full)
	}
	if r := a.Edge("when", &api.ConfigureLearning{WhenFull: "?"}).Refusal; r == nil ||
		r.Place != "when_full" {
		t.Errorf("when_full: %v", r)
	}
}

// ACCEPT L1
func TestLists(t *testing.T) {
	a := given(t, course("a", 9), course("b", 9), course("c", 1))
	large := course("d", 1)
	large.Details = map[string]string{"x": strings.Repeat("\U0001F393", 500)}
	put(a, large)
	for _, order := range []string{"ord_1", "ord_2", "ord_3"} {
		enrol(a, enrolment(order, takes("a", "c")...))
	}
	var skus []string
	for q := (api.ListCourses{Page: api.Page{Limit: 3}}); ; {
		var page api.CourseList
		if r := a.Ask(&q, &page); r != nil {
			t.Fatal(r)
		}
		for _, c := range page.Courses {
			skus = append(skus, c.SKU)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	if !slices.Equal(skus, []string{"a", "b", "c", "d"}) {
		t.Errorf("courses %v", skus)
	}
	for _, c := range []struct{ user, sku, want string }{
		{"", "", "3c 3a 2c 2a 1c 1a"}, {"", "a", "3a 2a 1a"}, {"usr_ord_2", "", "2c 2a"},
		{"usr_ord_2", "c", "2c"}, {"usr_none", "", ""}, {"", "none", ""},
	} {
		for limit := range 4 {
			var got []string
			for _, e := range places(a, api.ListEnrolments{User: c.user, SKU: c.sku,
				Page: api.Page{Limit: limit}}) {
				got = append(got, strings.TrimPrefix(e.Order, "ord_")+e.SKU)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("user %q, sku %q, pages of %d: %q, want %q", c.user, c.sku, limit, s, c.want)
			}
		}
	}
	for _, q := range []api.Query{
		&api.ListEnrolments{Page: api.Page{Cursor: "x"}},
		&api.ListEnrolments{Page: api.Page{Cursor: "-1"}},
		&api.ListCourses{Page: api.Page{Cursor: "\x00"}},
	} {
		var any json.RawMessage
		if r := a.Ask(q, &any); r == nil || r.Code != api.CodeInvalid || r.Place != "cursor" {
			t.Errorf("%+v: %v", q, r)
		}
	}
	if r := a.Ask(&api.GetCourse{SKU: "none"}, &api.Course{}); r == nil ||
		r.Code != api.CodeNotFound {
		t.Errorf("an unknown course: %v", r)
	}
}
