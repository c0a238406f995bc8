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
	op.Description = "Columns: section_id (the SKU), course, title, seats (9999 for no limit), " +
		"and " +
		"optionally price, units, section and meetings. A row needs a price where none is given " +
		"for all."
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
	price, err := s.coursePrice(in.Price)
	if err != nil {
		return nil, err
	}
	t, err := readCourses(bytes.NewReader(in.RawBody), s.Currency, price)
	if err != nil {
		return nil, err
	}
	if err := s.checkSeats(ctx, t); err != nil {
		return nil, err
	}
	if err := s.checkOwners(ctx, t.products, t.rows, "section_id"); err != nil {
		return nil, err
	}
	id := in.messageID(ctx, "courses")
	for n, batch := range courseBatches(t.courses) {
		if err := s.do(ctx, id+"-learning-"+strconv.Itoa(n), &api.PutCourses{Courses: batch},
			nil); err != nil {
			return nil, err
		}
	}
	for n, batch := range batches(t.products) {
		if err := s.do(ctx, id+"-goods-"+strconv.Itoa(n), &api.PutProducts{Products: batch},
			nil); err != nil {
			return nil, err
		}
	}
	return &answer[coursesImported]{coursesImported{len(t.courses)}}, nil
}

// coursePrice reads the price of all courses of a file; nil for none.
func (s *Server) coursePrice(text string) (*api.Money, error) {
	if text == "" {
		return nil, nil
	}
	p, err := api.ParseMoney(text, s.Currency)
	if err != nil || p.Amount < 0 {
		return nil, api.Refuse(api.CodeInvalid, "%q is not a price", text).At("price")
	}
	return &p, nil
}

// checkSeats refuses rows with fewer seats than are enrolled, which only
// learning knows, before anything is sent.
func (s *Server) checkSeats(ctx context.Context, t *courseTable) error {
	var bad []RowError
	for part := range slices.Chunk(t.courses, api.MaxCourses) {
		q := &api.CheckSeats{}
		for i := range part {
			q.Courses = append(q.Courses, api.Course{SKU: part[i].SKU, Seats: part[i].Seats})
		}
		var full api.CourseList
		if err := s.Edge.Ask(ctx, q, &full); err != nil {
			return err
		}
		for i := range full.Courses {
			if c := &full.Courses[i]; len(bad) < maxRowErrors {
				bad = append(bad, RowError{t.rows[c.SKU], "seats",
					fmt.Sprintf("%d students are enrolled in %s", c.Enrolled, c.SKU)})
			}
		}
	}
	return refuseRows(bad)
}

// courseBatches cuts courses into lists that fit a message.
func courseBatches(courses []api.Course) (all [][]api.Course) {
	start, size := 0, 0
	for i := range courses {
		n := len(api.Raw(&courses[i])) + 1
		if i > start && (i-start == api.MaxCourses || size+n > maxBatchBytes) {
			all = append(all, courses[start:i])
			start, size = i, 0
		}
		size += n
	}
	return append(all, courses[start:])
}

// noLimit is the number of seats that stands for no limit in course lists.
const noLimit = 9999

// ParseCourses reads courses from CSV, and the products by which they are
// sold: a product a course, a SKU a section, of which a user buys one. Courses
// without a price of their own have the given one; nil refuses them. A course
// without seats is left out of the sale. It refuses with CodeInvalid, with up to
// 100 RowErrors in Data, when any row is bad.
func ParseCourses(r io.Reader, currency string, price *api.Money) ([]api.Course, []api.Product,
	error) {
	t, err := readCourses(r, currency, price)
	if err != nil {
		return nil, nil, err
	}
	return t.courses, t.products, nil
}

// readCourses is ParseCourses with the rows where everything stands.
func readCourses(r io.Reader, currency string, price *api.Money) (*courseTable, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, api.Refuse(api.CodeInvalid, "the first row names the columns: %v", err)
	}
	t := &courseTable{currency: currency, price: price, column: map[string]int{},
		product: map[string]int{}, rows: map[string]int{}}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	for len(t.errs) < maxRowErrors {
		if t.fields, err = in.Read(); err == io.EOF {
			break
		}
		var broken *csv.ParseError
		if errors.As(err, &broken) {
			t.errs = append(t.errs, RowError{broken.Line, "", broken.Err.Error()})
			break
		}
		if err != nil {
			return nil, err
		}
		t.row, _ = in.FieldPos(0)
		t.read()
	}
	if len(t.courses) == 0 && len(t.errs) == 0 {
		return nil, api.Refuse(api.CodeInvalid, "there are no courses")
	}
	t.checkProducts()
	return t, refuseRows(t.errs)
}

func (t *courseTable) readHeader(header []string) error {
	for i, name := range header {
		t.column[strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))] = i
	}
	for _, name := range []string{"section_id", "course", "title", "seats"} {
		if _, ok := t.column[name]; !ok {
			return api.Refuse(api.CodeInvalid, "the column %s is missing", name)
		}
	}
	return nil
}

// courseTable is a list of courses that is being read.
type courseTable struct {
	currency string
	price    *api.Money
	column   map[string]int
	fields   []string
	row      int // line in the file
	errs     []RowError
	courses  []api.Course
	products []api.Product
	product  map[string]int // by course: place in products
	rows     map[string]int // by SKU
}

func (t *courseTable) get(column string) string {
	if i, ok := t.column[column]; ok && i < len(t.fields) {
		// The record's memory is used again for the next row.
		return strings.Clone(strings.TrimSpace(t.fields[i]))
	}
	return ""
}

func (t *courseTable) refuse(column, format string, args ...any) {
	t.errs = append(t.errs, RowError{t.row, column, fmt.Sprintf(format, args...)})
}

// read takes a row. All that the actors would refuse in it is found here, so
// that a file is imported as a whole or not at all.
func (t *courseTable) read() {
	before := len(t.errs)
	id, course := t.get("section_id"), t.get("course")
	if !api.IsCode(id) || t.rows[id] > 0 {
		t.refuse("section_id", "it is a code of 1 to %d characters, once in the file", api.MaxCode)
	}
	t.rows[id] = t.row
	if !api.IsCode("course:" + course) {
		t.refuse("course", `it is 1 to 57 plain characters without " \ < > and &`)
	}
	seats, err := strconv.ParseInt(t.get("seats"), 10, 64)
	if err != nil || seats < 0 || seats > api.MaxSeats {
		t.refuse("seats", "it is a whole number from 0 to %d", api.MaxSeats)
	}
	for _, name := range []string{"title", "units", "section", "meetings"} {
		if text := cut(t.get(name), api.MaxDetail); !api.IsText(text, api.MaxDetail) {
			t.refuse(name, "it is not one line of text")
		}
	}
	price := t.priceOf()
	if len(t.errs) > before {
		return
	}
	t.add(id, course, seats, price)
}

// priceOf is the row's price, or the one for courses without.
func (t *courseTable) priceOf() (price api.Money) {
	text := t.get("price")
	switch {
	case text == "" && t.price == nil:
		t.refuse("price", "it has no price, and none was given for such courses")
	case text == "":
		price = *t.price
	default:
		var err error
		if price, err = api.ParseMoney(text, t.currency); err != nil || price.Amount < 0 {
			t.refuse("price", "%q is not a price", text)
		}
	}
	return price
}

func (t *courseTable) add(id, course string, seats int64, price api.Money) {
	if seats == noLimit {
		seats = api.NoSeatLimit
	}
	details := map[string]string{}
	for _, name := range []string{"course", "units", "section", "meetings"} {
		if v := cut(t.get(name), api.MaxDetail); v != "" {
			details[name] = v
		}
	}
	title := cut(strings.TrimSpace(course+" "+t.get("title")), 190)
	c := api.Course{SKU: id, Title: title, Seats: seats, Details: details}
	if e := c.Check(); e != nil {
		t.refuse(e.Place, "%s", e.Message)
		return
	}
	t.courses = append(t.courses, c)
	i, ok := t.product[course]
	if !ok {
		i = len(t.products)
		t.product[course] = i
		t.products = append(t.products, api.Product{ID: "course:" + course, Name: title,
			Categories: []string{"Courses"}})
	}
	sku := api.SKU{ID: id, Name: title, Price: price, Kind: api.KindCourse,
		Policy: api.PolicyNone, MaxPerOrder: 1, OffSale: seats == 0}
	if section := cut(t.get("section"), 100); section != "" {
		sku.Options = map[string]string{"section": section}
	}
	t.products[i].SKUs = append(t.products[i].SKUs, sku)
}

// checkProducts checks what only all sections of a course show together.
func (t *courseTable) checkProducts() {
	for i := range t.products {
		p := &t.products[i]
		if t.row = t.rows[p.SKUs[0].ID]; len(p.SKUs) > maxBatchSKUs ||
			len(api.Raw(p)) > maxBatchBytes {
			t.refuse("course", "a course has at most %d sections and %d bytes", maxBatchSKUs,
				maxBatchBytes)
		}
	}
}

// cut is at most n characters of s.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
