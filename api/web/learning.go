package web

import (
	"net/http"
	"net/url"

	"ordo/api"
	"ordo/api/web/page"
)

// listCourses shows the courses with their seats. Row L1.
func (v *visit) listCourses() error {
	ask := url.Values{"limit": {pageSize}}
	if cursor := v.r.URL.Query().Get("cursor"); cursor != "" {
		ask.Set("cursor", cursor)
	}
	var list api.CourseList
	if err := v.get(page.Address("/v1/courses", ask), &list); err != nil {
		return err
	}
	next := ""
	if list.Next != "" {
		next = page.Address("/courses", url.Values{"cursor": {list.Next}})
	}
	var all []course
	for _, c := range list.Courses {
		all = append(all, course{c})
	}
	return v.show(http.StatusOK, view{Page: "courses", Title: v.tongue.text("courses.title"),
		D: paged{all, next}})
}

// course is a course as the list shows it.
type course struct{ api.Course }

// Free is how many seats are left.
func (c course) Free() int64 { return c.Seats - c.Enrolled }

// listEnrolments shows the courses that the visitor is in, or waits for.
func (v *visit) listEnrolments() error {
	var list api.EnrolmentList
	err := v.list("/v1/enrolments", nil, &list)
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, view{Page: "enrolments",
		Title: v.tongue.text("enrolments.title"), D: paged{list.Enrolments, page.Next(v.r,
			list.Next)}})
}
