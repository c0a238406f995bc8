// Package learning is the actor of courses. It decides who has a seat, who
// waits for one, and who is let in next. It never takes or returns money: what
// can't be had it tells the order actor.
package learning

import (
	_ "embed"
	"fmt"

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
			actors.On(enrol).From("order"),
			actors.On(withdraw).From("order"),
		},
		Queries: []actors.Endpoint{
			actors.Answer("Courses with their seats, by id.", listCourses),
			actors.Answer("One course.", getCourse),
			actors.Answer("Which courses have more students than these seats.", checkEnrolled),
			actors.Answer("Enrolments by user and course, newest first.", listEnrolments),
		},
		Tick: sweep,
	}
}

// maxLetIn is the most students that one message lets in; a tick lets in those
// who are left.
const maxLetIn = actors.SweepLimit

func invalid(place, format string, args ...any) *api.Error {
	return api.Refuse(api.CodeInvalid, format, args...).At(place)
}

// checkCourses checks what can be checked without the database.
func checkCourses(m *api.PutCourses) error {
	if len(m.Courses) == 0 {
		return invalid("courses", "there are no courses")
	}
	if len(m.Courses) > api.MaxCourses {
		return api.Refuse(api.CodeTooLarge, "more than %d courses", api.MaxCourses).At("courses")
	}
	known := make(map[string]bool, len(m.Courses))
	for i := range m.Courses {
		c, at := &m.Courses[i], fmt.Sprintf("courses[%d]", i)
		if err := c.Check(); err != nil {
			return err.At(at + "." + err.Place)
		}
		if known[c.SKU] {
			return invalid(at+".sku", "course %s stands in the message twice", c.SKU)
		}
		known[c.SKU] = true
	}
	return nil
}
