package api

// Course is a course whose seats are sold as a SKU of KindCourse. Row L1.
type Course struct {
	// SKU is the course's id, as in the catalogue.
	SKU string `json:"sku"`
	// Title is 1 to 200 characters.
	Title string `json:"title"`
	// Seats is the most who can be enrolled, 0 to MaxSeats; NoSeatLimit for no
	// limit.
	Seats    int64 `json:"seats"`
	Enrolled int64 `json:"enrolled"`
	Waiting  int64 `json:"waiting"`
	// Details are shown as they are: at most 20, names of 1 to 50 and values
	// of at most 500 characters.
	Details map[string]string `json:"details,omitempty"`
}

// Limits of courses; texts are in characters.
const (
	MaxSeats      = 1_000_000
	NoSeatLimit   = -1
	MaxCourses    = 500 // a message
	MaxTitle      = 200
	MaxDetails    = 20
	MaxDetailName = 50
	MaxDetail     = 500
)

// Check is what is wrong with a course, CodeInvalid at its field, or nil. It
// does not know how many are enrolled: CheckSeats does.
func (c *Course) Check() *Error {
	switch {
	case !IsCode(c.SKU):
		return Refuse(CodeInvalid, "not a code of 1 to %d plain characters", MaxCode).At("sku")
	case !IsName(c.Title, MaxTitle):
		return Refuse(CodeInvalid, "not a title of 1 to %d characters", MaxTitle).At("title")
	case c.Seats < 0 && c.Seats != NoSeatLimit || c.Seats > MaxSeats:
		return Refuse(CodeInvalid, "not a number of 0 to %d, or %d for no limit", MaxSeats,
			NoSeatLimit).At("seats")
	case !c.goodDetails():
		return Refuse(CodeInvalid, "more than %d details, or a name not of 1 to %d or a value "+
			"over %d characters", MaxDetails, MaxDetailName, MaxDetail).At("details")
	}
	return nil
}

// goodDetails does not depend on the map's order.
func (c *Course) goodDetails() bool {
	for name, value := range c.Details {
		if !IsName(name, MaxDetailName) || !IsText(value, MaxDetail) {
			return false
		}
	}
	return len(c.Details) <= MaxDetails
}

// PutCourses makes or changes courses, all or none, at most MaxCourses a message
// (CodeTooLarge); Enrolled and Waiting are not read. More seats let those in who
// wait, in the order of their payment: 1,000 at once and the others at the next
// tick. Fewer seats than are enrolled are refused with CodeInvalid. From edges
// only.
type PutCourses struct {
	Courses []Course `json:"courses"`
}

// Route implements Message.
func (*PutCourses) Route() Route { return Route{"learning", "put-courses"} }

// ConfigureLearning sets the rules of the learning actor. From edges only.
type ConfigureLearning struct {
	// WhenFull is FullWait or FullRefund.
	WhenFull string `json:"when_full"`
}

// What happens to a paid order for a course that is full.
const (
	// FullWait: the student waits for a seat.
	FullWait = "wait"
	// FullRefund: the line is refunded.
	FullRefund = "refund"
)

// Route implements Message.
func (*ConfigureLearning) Route() Route { return Route{"learning", "configure"} }

// Enrol enrols the user in the courses that an order paid for. It is never
// refused as a whole: the answer's Data is an Enrolled that says which units
// could not be had. From the order actor. Row L1.
type Enrol struct {
	Step
	User  string     `json:"user"`
	Lines []CartTake `json:"lines"`
}

// Route implements Message.
func (*Enrol) Route() Route { return Route{"learning", "enrol"} }

// Enrolled is the Data of an Enrol.
type Enrolled struct {
	// Refused are the units that are to be refunded: the course is unknown or
	// full, the user is enrolled already, or more than one seat was bought.
	Refused []CartTake `json:"refused,omitempty"`
}

// Withdraw takes back enrolments of an order, or places in the waiting list,
// because the units are refunded. It is to name all refunded units of courses,
// also those that Enrol refused: a place ends with the last unit of its course
// that the order has paid for. The first who waits gets the seat. It is never
// refused: what the order has no place for is left out. From the order actor.
type Withdraw struct {
	Step
	User  string     `json:"user"`
	Lines []CartTake `json:"lines"`
}

// Route implements Message.
func (*Withdraw) Route() Route { return Route{"learning", "withdraw"} }

// States of an enrolment.
const (
	EnrolmentEnrolled  = "enrolled"
	EnrolmentWaiting   = "waiting"
	EnrolmentWithdrawn = "withdrawn"
)

// Enrolment is a user's place in a course; there is one a user and course.
type Enrolment struct {
	SKU   string `json:"sku"`
	Title string `json:"title"`
	User  string `json:"user"`
	Order string `json:"order"`
	// State is one of the Enrolment constants.
	State string `json:"state"`
	// At is since when the student is enrolled, or waits.
	At Time `json:"at"`
	// Ended is when it was withdrawn.
	Ended Time `json:"ended"`
}

// CheckSeats asks which of these courses PutCourses would refuse now, because
// fewer seats than are enrolled stand there; at most MaxCourses, of which SKU and
// Seats are read. The answer is a CourseList of them as they are.
type CheckSeats struct {
	Courses []Course `json:"courses"`
}

// Endpoint implements Query.
func (*CheckSeats) Endpoint() Route { return Route{"learning", "check-seats"} }

// ListCourses asks for courses by id. The answer is a CourseList.
type ListCourses struct {
	Page
}

// Endpoint implements Query.
func (*ListCourses) Endpoint() Route { return Route{"learning", "courses"} }

// CourseList answers ListCourses.
type CourseList struct {
	Courses []Course `json:"items"`
	Next    string   `json:"next,omitempty"`
}

// GetCourse asks for one course; CodeNotFound. The answer is a Course.
type GetCourse struct {
	SKU string `json:"sku"`
}

// Endpoint implements Query.
func (*GetCourse) Endpoint() Route { return Route{"learning", "course"} }

// ListEnrolments asks for enrolments, newest first. The answer is an
// EnrolmentList.
type ListEnrolments struct {
	Page
	// User and SKU each narrow the list when not empty.
	User string `json:"user,omitempty"`
	SKU  string `json:"sku,omitempty"`
}

// Endpoint implements Query.
func (*ListEnrolments) Endpoint() Route { return Route{"learning", "enrolments"} }

// EnrolmentList answers ListEnrolments.
type EnrolmentList struct {
	Enrolments []Enrolment `json:"items"`
	Next       string      `json:"next,omitempty"`
}

// Events of learning; Data is an Enrolment.
const (
	EventEnrolled  = "learning.enrolled"
	EventWaiting   = "learning.waiting"
	EventWithdrawn = "learning.withdrawn"
)
