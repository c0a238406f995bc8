// Package learning is the actor of courses. It decides who has a seat, who
// waits for one, and who is let in next. It never takes or returns money: what
// can't be had it tells the order actor.
package learning

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ordo/actors"
	"ordo/api"
)

//go:embed schema.sql
var schema string

// Spec describes the learning actor. Row L1.
func Spec() *actors.Spec {
	return &actors.Spec{
		Name:        "learning",
		Version:     "1.0.0",
		Description: "Courses with their seats, enrolments and waiting lists.",
		Schema:      schema,
		Commands: []actors.Command{
			actors.On(putCourses),
			actors.On(configure),
			actors.On(enrol),
			actors.On(withdraw),
		},
		Queries: []actors.Endpoint{
			actors.Answer("Courses with their seats, by id.", listCourses),
			actors.Answer("One course.", getCourse),
			actors.Answer("Enrolments by user and course, newest first.", listEnrolments),
		},
		Tick: sweep,
	}
}

// Limits of what a shop may write about its courses, in characters where not
// said otherwise.
const (
	maxCourses    = 500 // courses a message
	maxCode       = 64
	maxTitle      = 200
	maxDetails    = 20
	maxDetailName = 50
	maxDetail     = 500
)

// maxLetIn is the most students that one message lets in; a tick lets in those
// who are left.
const maxLetIn = actors.SweepLimit

// isCode tells whether s is a code of the shop's own, as the catalogue has it.
func isCode(s string) bool {
	if len(s) < 1 || len(s) > maxCode || s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}

// isText tells whether s is one line of at most limit characters.
func isText(s string, limit int) bool {
	return len(s) <= limit*utf8.UTFMax && utf8.RuneCountInString(s) <= limit &&
		utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// isName is isText for what must not be blank.
func isName(s string, limit int) bool {
	return isText(s, limit) && strings.TrimSpace(s) != ""
}

// areDetails checks named values. The answer must not depend on the map's
// order.
func areDetails(details map[string]string) bool {
	for name, value := range details {
		if !isName(name, maxDetailName) || !isText(value, maxDetail) {
			return false
		}
	}
	return len(details) <= maxDetails
}

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

// checkCourses checks what can be checked without the database.
func checkCourses(m *api.PutCourses) error {
	if len(m.Courses) == 0 {
		return invalid("courses", "there are no courses")
	}
	if len(m.Courses) > maxCourses {
		return api.Refuse(api.CodeTooLarge, "more than %d courses", maxCourses).At("courses")
	}
	known := make(map[string]bool, len(m.Courses))
	for i := range m.Courses {
		c, at := &m.Courses[i], fmt.Sprintf("courses[%d]", i)
		if err := checkCourse(at, c); err != nil {
			return err
		}
		if known[c.SKU] {
			return invalid(at+".sku", "course %s stands in the message twice", c.SKU)
		}
		known[c.SKU] = true
	}
	return nil
}

func checkCourse(at string, c *api.Course) error {
	switch {
	case !isCode(c.SKU):
		return invalid(at+".sku", "not a code of 1 to %d plain characters", maxCode)
	case !isName(c.Title, maxTitle):
		return invalid(at+".title", "not a title of 1 to %d characters", maxTitle)
	case c.Seats < 0 && c.Seats != api.NoSeatLimit || c.Seats > api.MaxSeats:
		return invalid(at+".seats", "not a number of 0 to %d, or %d for no limit", api.MaxSeats,
			api.NoSeatLimit)
	case !areDetails(c.Details):
		return invalid(at+".details", "more than %d details, or a name not of 1 to %d or a value "+
			"over %d characters", maxDetails, maxDetailName, maxDetail)
	}
	return nil
}
