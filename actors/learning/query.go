package learning

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"ordo/actors"
	"ordo/api"
)

// pageBytes ends a page of courses, however few there are on it, in bytes of
// stored text.
const pageBytes = 1 << 20

// getCourse answers one course.
func getCourse(v *actors.View, q *api.GetCourse) (*api.Course, error) {
	c, _, err := readCourse(v.Row(`SELECT sku, title, seats, enrolled, waiting, details
		FROM course WHERE sku = ?`, q.SKU))
	if errors.Is(err, actors.ErrNoRows) {
		return nil, api.Refuse(api.CodeNotFound, "there is no such course").At("sku")
	}
	return &c, err
}

// checkEnrolled answers the courses that putCourses would refuse.
func checkEnrolled(v *actors.View, q *api.CheckSeats) (*api.CourseList, error) {
	if len(q.Courses) > api.MaxCourses {
		return nil,
			api.Refuse(api.CodeTooLarge, "more than %d courses", api.MaxCourses).At("courses")
	}
	list := &api.CourseList{Courses: []api.Course{}}
	for i := range q.Courses {
		c := &q.Courses[i]
		known, err := getCourse(v, &api.GetCourse{SKU: c.SKU})
		switch refusal := api.AsError(err); {
		case refusal != nil && refusal.Code == api.CodeNotFound:
		case err != nil:
			return nil, err
		case c.Seats != api.NoSeatLimit && c.Seats < known.Enrolled:
			known.Details = nil
			list.Courses = append(list.Courses, *known)
		}
	}
	return list, nil
}

// listCourses answers a page of courses by id.
func listCourses(v *actors.View, q *api.ListCourses) (*api.CourseList, error) {
	if q.Cursor != "" && !api.IsCode(q.Cursor) {
		return nil, badCursor()
	}
	list, bytes := &api.CourseList{Courses: []api.Course{}}, 0
	err := v.Each(func(r actors.Row) error {
		if n := len(list.Courses); n == q.Size() || bytes > pageBytes {
			list.Next = list.Courses[n-1].SKU
			return nil
		}
		c, size, err := readCourse(r)
		bytes += size
		list.Courses = append(list.Courses, c)
		return err
	}, `SELECT sku, title, seats, enrolled, waiting, details FROM course
		WHERE sku > ? ORDER BY sku LIMIT +?`, q.Cursor, q.Size()+1)
	return list, err
}

// readCourse reads a course and the size of its texts.
func readCourse(r actors.Row) (c api.Course, bytes int, err error) {
	var details string
	if err := r.Scan(&c.SKU, &c.Title, &c.Seats, &c.Enrolled, &c.Waiting, &details); err != nil {
		return c, 0, err
	}
	if details != "" {
		if err := json.Unmarshal([]byte(details), &c.Details); err != nil {
			return c, 0, fmt.Errorf("stored details: %w", err)
		}
	}
	return c, len(c.SKU) + len(c.Title) + len(details), nil
}

// The lists of enrolments, each in the order of their number.
const (
	enrolments = `SELECT e.n, e.sku, c.title, e.user_id, e.order_id, e.state, e.at, e.ended
		FROM enrolment e JOIN course c ON c.sku = e.sku `
	listAll = enrolments + `WHERE e.n < ? ORDER BY e.n DESC LIMIT +?`
	bySKU   = enrolments + `WHERE e.n < ? AND e.sku = +? ORDER BY e.n DESC LIMIT +?`
	byUser  = enrolments + `WHERE e.n < ?1 AND e.user_id = +?2 AND (?3 = '' OR e.sku = +?3)
		ORDER BY e.n DESC LIMIT +?4`
)

// listEnrolments answers a page of enrolments, newest first.
func listEnrolments(v *actors.View, q *api.ListEnrolments) (*api.EnrolmentList, error) {
	before, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	size := q.Size()
	list, last := &api.EnrolmentList{Enrolments: []api.Enrolment{}}, int64(0)
	query, args := listAll, []any{before, size + 1}
	switch {
	case q.User != "":
		query, args = byUser, []any{before, q.User, q.SKU, size + 1}
	case q.SKU != "":
		query, args = bySKU, []any{before, q.SKU, size + 1}
	}
	err = v.Each(func(r actors.Row) error {
		if len(list.Enrolments) == size {
			list.Next = strconv.FormatInt(last, 10)
			return nil
		}
		var e api.Enrolment
		err := r.Scan(&last, &e.SKU, &e.Title, &e.User, &e.Order, &e.State, &e.At, &e.Ended)
		list.Enrolments = append(list.Enrolments, e)
		return err
	}, query, args...)
	return list, err
}

// parseCursor reads the number of the last enrolment of the page before.
func parseCursor(s string) (int64, error) {
	if s == "" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, badCursor()
	}
	return n, nil
}

func badCursor() error {
	return api.Refuse(api.CodeInvalid, "is not the next of a list").At("cursor")
}
