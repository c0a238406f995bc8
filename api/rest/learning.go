package rest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"ordo/api"
)

func (s *Server) learningRoutes() {
	route(s, s.op("list-courses", "GET /v1/courses", anybody, "Courses with their seats"),
		s.listCourses)
	route(s, s.op("get-course", "GET /v1/courses/{id}", anybody, "One course"), s.getCourse)
	route(s, s.op("list-enrolments", "GET /v1/enrolments", users,
		"The courses that the user is enrolled in or waits for, newest first"), s.listEnrolments)
	route(s, s.op("list-students", "GET /admin/v1/courses/{id}/enrolments", support,
		"Who is enrolled in a course or waits, newest first"), s.listStudents)
	op := s.op("import-courses", "POST /admin/v1/courses:import", admins,
		"Make or change courses and put them on sale, if all rows are good")
	op.MaxBodyBytes = MaxImport + 1
	op.Description = "Columns: section_id (the SKU), course, title, seats (9999 for no limit), and " +
		"optionally price, units, section and meetings."
	op.RequestBody = &huma.RequestBody{Required: true,
		Content: map[string]*huma.MediaType{"text/csv": {}}}
	route(s, op, s.importCourses)
}

func (s *Server) listCourses(ctx context.Context, in *struct{ PageQuery }) (
	*answer[passed[api.CourseList]], error) {
	return pass[api.CourseList](ctx, s, &api.ListCourses{Page: in.page()})
}

func (s *Server) getCourse(ctx context.Context, in *ByID) (*answer[passed[api.Course]], error) {
	return pass[api.Course](ctx, s, &api.GetCourse{SKU: in.ID})
}

func (s *Server) listEnrolments(ctx context.Context, in *struct{ PageQuery }) (
	*answer[passed[api.EnrolmentList]], error) {
	return pass[api.EnrolmentList](ctx, s,
		&api.ListEnrolments{Page: in.page(), User: callerOf(ctx).User})
}

type studentsInput struct {
	PageQuery
	ByID
}

func (s *Server) listStudents(ctx context.Context, in *studentsInput) (
	*answer[passed[api.EnrolmentList]], error) {
	return pass[api.EnrolmentList](ctx, s, &api.ListEnrolments{Page: in.page(), SKU: in.ID})
}

type coursesInput struct {
	Idempotent
	Price   string `query:"price" maxLength:"20" doc:"The price of courses without one, such as 50.00."`
	RawBody []byte `contentType:"text/csv"`
}

// coursesImported says what an import of courses brought.
type coursesImported struct {
	Courses int `json:"courses"`
}

// importCourses makes a course and its SKU of every row: seats first, so that
// nobody can buy a course that is not there. Row L1.
func (s *Server) importCourses(ctx context.Context, in *coursesInput) (
	*answer[coursesImported], error) {
	price := api.Money{Currency: s.Currency}
	if in.Price != "" {
		var err error
		if price, err = api.ParseMoney(in.Price, s.Currency); err != nil || price.Amount < 0 {
			return nil, api.Refuse(api.CodeInvalid, "%q is not a price", in.Price).At("price")
		}
	}
	courses, products, err := ParseCourses(bytes.NewReader(in.RawBody), price)
	if err != nil {
		return nil, err
	}
	id := in.messageID(ctx, "courses")
	n := 0
	for part := range slices.Chunk(courses, maxBatchCourses) {
		if err := s.do(ctx, id+"-learning-"+strconv.Itoa(n), &api.PutCourses{Courses: part},
			nil); err != nil {
			return nil, err
		}
		n++
	}
	for n, batch := range batches(products) {
		if err := s.do(ctx, id+"-goods-"+strconv.Itoa(n), &api.PutProducts{Products: batch},
			nil); err != nil {
			return nil, err
		}
	}
	return &answer[coursesImported]{coursesImported{len(courses)}}, nil
}

// maxBatchCourses is how many courses a message brings, which with all their
// details are within its size.
const maxBatchCourses = 200

// noLimit is the number of seats that stands for no limit in course lists.
const noLimit = 9999

// ParseCourses reads courses from CSV, and the products by which they are
// sold: a product a course, a SKU a section, of which a user buys one. A
// course without seats is left out of the sale. It refuses with CodeInvalid,
// with up to 100 RowErrors in Data, when any row is bad.
func ParseCourses(r io.Reader, price api.Money) ([]api.Course, []api.Product, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, nil, api.Refuse(api.CodeInvalid, "the first row names the columns: %v", err)
	}
	p := &courseTable{column: map[string]int{}, product: map[string]int{}, seen: map[string]bool{}}
	for i, name := range header {
		p.column[name] = i
	}
	for _, name := range []string{"section_id", "course", "title", "seats"} {
		if _, ok := p.column[name]; !ok {
			return nil, nil, api.Refuse(api.CodeInvalid, "the column %s is missing", name)
		}
	}
	for row := 2; len(p.errs) < maxRowErrors; row++ {
		p.fields, err = in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			p.errs = append(p.errs, RowError{row, "", errors.Unwrap(err).Error()})
			break
		}
		p.row = row
		p.read(price)
	}
	if len(p.errs) > 0 {
		return nil, nil, api.Refuse(api.CodeInvalid, "%d rows are bad", len(p.errs)).
			At(fmt.Sprintf("rows[%d]", p.errs[0].Row)).With(p.errs)
	}
	return p.courses, p.products, nil
}

// courseTable is a list of courses that is being read.
type courseTable struct {
	column   map[string]int
	fields   []string
	row      int
	errs     []RowError
	courses  []api.Course
	products []api.Product
	product  map[string]int
	seen     map[string]bool
}

func (p *courseTable) get(column string) string {
	if i, ok := p.column[column]; ok && i < len(p.fields) {
		return strings.TrimSpace(p.fields[i])
	}
	return ""
}

func (p *courseTable) refuse(column, format string, args ...any) {
	p.errs = append(p.errs, RowError{p.row, column, fmt.Sprintf(format, args...)})
}

func (p *courseTable) read(price api.Money) {
	before := len(p.errs)
	id, course := p.get("section_id"), p.get("course")
	if !isCode(id) || p.seen[id] {
		p.refuse("section_id", "it is a code of 1 to 64 characters, once in the file")
	}
	p.seen[id] = true
	if !isCode("course:" + course) {
		p.refuse("course", `it is 1 to 57 plain characters without " \ < > and &`)
	}
	seats, err := strconv.ParseInt(p.get("seats"), 10, 64)
	if err != nil || seats < 0 || seats > api.MaxSeats {
		p.refuse("seats", "it is a whole number from 0 to %d", api.MaxSeats)
	}
	if text := p.get("price"); text != "" {
		if price, err = api.ParseMoney(text, price.Currency); err != nil || price.Amount < 0 {
			p.refuse("price", "%q is not a price", text)
		}
	}
	if len(p.errs) > before {
		return
	}
	p.add(id, course, seats, price)
}

func (p *courseTable) add(id, course string, seats int64, price api.Money) {
	if seats == noLimit {
		seats = api.NoSeatLimit
	}
	details := map[string]string{}
	for _, name := range []string{"course", "units", "section", "meetings"} {
		if v := cut(p.get(name), 500); v != "" {
			details[name] = v
		}
	}
	title := cut(strings.TrimSpace(course+" "+p.get("title")), 190)
	p.courses = append(p.courses, api.Course{SKU: id, Title: title, Seats: seats,
		Details: details})
	i, ok := p.product[course]
	if !ok {
		i = len(p.products)
		p.product[course] = i
		p.products = append(p.products, api.Product{ID: "course:" + course, Name: title,
			Categories: []string{"Courses"}})
	}
	sku := api.SKU{ID: id, Name: title, Price: price, Kind: api.KindCourse,
		Policy: api.PolicyNone, MaxPerOrder: 1, OffSale: seats == 0}
	if section := cut(p.get("section"), 100); section != "" {
		sku.Options = map[string]string{"section": section}
	}
	p.products[i].SKUs = append(p.products[i].SKUs, sku)
}

// cut is at most n characters of s.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
