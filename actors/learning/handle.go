package learning

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"ordo/actors"
	"ordo/api"
)

// configured are the rules in force.
func configured(tx *actors.Tx) (c api.ConfigureLearning, err error) {
	c.WhenFull = api.FullWait
	return c, tx.Config(&c)
}

// configure sets the rules for orders that are paid from now on.
func configure(tx *actors.Tx, m *api.ConfigureLearning) error {
	if m.WhenFull != api.FullWait && m.WhenFull != api.FullRefund {
		return invalid("when_full", "must be %s or %s", api.FullWait, api.FullRefund)
	}
	return tx.Configure(m)
}

// putCourses makes or changes courses, all or none, and lets in those who wait
// for the seats that were added.
func putCourses(tx *actors.Tx, m *api.PutCourses) error {
	if err := checkCourses(m); err != nil {
		return err
	}
	for i := range m.Courses {
		if err := checkSeats(tx, fmt.Sprintf("courses[%d].seats", i), &m.Courses[i]); err != nil {
			return err
		}
	}
	left := maxLetIn
	for i := range m.Courses {
		waiting, err := putCourse(tx, &m.Courses[i])
		if err != nil {
			return err
		}
		if waiting == 0 || left == 0 {
			continue
		}
		n, err := letIn(tx, m.Courses[i].SKU, left)
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// checkSeats refuses fewer seats than are taken.
func checkSeats(tx *actors.Tx, at string, c *api.Course) error {
	if c.Seats == api.NoSeatLimit {
		return nil
	}
	var enrolled int64
	err := tx.Row(`SELECT enrolled FROM course WHERE sku = ?`, c.SKU).Scan(&enrolled)
	if err != nil && !errors.Is(err, actors.ErrNoRows) {
		return err
	}
	if c.Seats < enrolled {
		return invalid(at, "%d students are enrolled in %s", enrolled, c.SKU)
	}
	return nil
}

// putCourse writes a course and answers how many wait for it.
func putCourse(tx *actors.Tx, c *api.Course) (waiting int64, err error) {
	details := ""
	if len(c.Details) > 0 {
		details = string(api.Raw(c.Details))
	}
	err = tx.Row(`INSERT INTO course (sku, title, seats, details) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET title = excluded.title, seats = excluded.seats,
		details = excluded.details RETURNING waiting`,
		c.SKU, c.Title, c.Seats, details).Scan(&waiting)
	return waiting, err
}

// letIn gives free seats of a course to those who wait, in the order of their
// payment, at most so many, and answers how many it were.
func letIn(tx *actors.Tx, sku string, most int) (n int, err error) {
	var title string
	if err := tx.Row(`SELECT title, min(waiting, iif(seats < 0, waiting, seats - enrolled), ?2)
		FROM course WHERE sku = ?1`, sku, most).Scan(&title, &n); err != nil || n == 0 {
		return 0, err
	}
	type seat struct {
		n int64
		api.Enrolment
	}
	var in []seat
	if err := tx.Each(func(r actors.Row) error {
		p := seat{Enrolment: api.Enrolment{SKU: sku, Title: title, State: api.EnrolmentEnrolled,
			At: tx.Now()}}
		err := r.Scan(&p.n, &p.User, &p.Order)
		in = append(in, p)
		return err
	}, `UPDATE enrolment SET state = 'enrolled', at = ?3 WHERE n IN
		(SELECT n FROM enrolment INDEXED BY enrolment_waiting
			WHERE sku = +?1 AND state = 'waiting' ORDER BY n LIMIT +?2)
		RETURNING n, user_id, order_id`, sku, n, tx.Now()); err != nil {
		return 0, err
	}
	// RETURNING keeps no order.
	slices.SortFunc(in, func(a, b seat) int { return cmp.Compare(a.n, b.n) })
	for i := range in {
		if err := tell(tx, api.EventEnrolled, &in[i].Enrolment); err != nil {
			return 0, err
		}
	}
	return len(in), nil
}

func tell(tx *actors.Tx, event string, e *api.Enrolment) error {
	return tx.Emit(api.Event{Type: event, Order: e.Order, User: e.User, Data: api.Raw(e)})
}

// enrol gives the user of a paid order one place in each of its courses; other
// units are to be refunded. Row L1.
func enrol(tx *actors.Tx, m *api.Enrol) error {
	return tx.Do(m.Step, func() (any, error) {
		rules, err := configured(tx)
		if err != nil {
			return nil, err
		}
		answer := &api.Enrolled{}
		for _, l := range together(m.Lines) {
			placed, err := place(tx, m, l, rules.WhenFull == api.FullWait)
			if err != nil {
				return nil, err
			}
			if placed {
				l.Quantity--
			}
			if l.Quantity > 0 {
				answer.Refused = append(answer.Refused, l)
			}
		}
		return answer, nil
	})
}

// together adds up the units of each SKU, in the order in which the lines name
// them.
func together(lines []api.CartTake) (all []api.CartTake) {
	places := make(map[string]int, len(lines))
	for _, l := range lines {
		if l.Quantity < 1 {
			continue
		}
		at, ok := places[l.SKU]
		if !ok {
			at = len(all)
			places[l.SKU] = at
			all = append(all, api.CartTake{SKU: l.SKU})
		}
		all[at].Quantity += l.Quantity
	}
	return all
}

// place gives the user a seat, or a place in the waiting list if that is
// wanted. One statement decides and writes: it finds no row when the course is
// unknown or full, and no room when the user has a place. Seats that those who
// wait are about to get are not free.
func place(tx *actors.Tx, m *api.Enrol, l api.CartTake, wait bool) (placed bool, err error) {
	e := api.Enrolment{SKU: l.SKU, User: m.User, Order: m.Order, At: tx.Now()}
	err = tx.Row(`INSERT INTO enrolment (sku, user_id, order_id, state, units, at)
		SELECT sku, ?2, ?3, iif(seats < 0 OR enrolled + waiting < seats, 'enrolled', 'waiting'),
			?4, ?5 FROM course
		WHERE sku = ?1 AND (?6 OR seats < 0 OR enrolled + waiting < seats)
		ON CONFLICT (user_id, sku) DO UPDATE SET n = (SELECT max(n) + 1 FROM enrolment),
			order_id = excluded.order_id, state = excluded.state, units = excluded.units,
			at = excluded.at, ended = 0 WHERE state = 'withdrawn'
		RETURNING state, (SELECT title FROM course WHERE sku = ?1)`,
		l.SKU, m.User, m.Order, l.Quantity, tx.Now(), wait).Scan(&e.State, &e.Title)
	if errors.Is(err, actors.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	event := api.EventEnrolled
	if e.State == api.EnrolmentWaiting {
		event = api.EventWaiting
	}
	return true, tell(tx, event, &e)
}

// withdraw ends the places of an order whose units are all refunded, and gives
// the seats to those who wait.
func withdraw(tx *actors.Tx, m *api.Withdraw) error {
	return tx.Do(m.Step, func() (any, error) {
		for _, l := range together(m.Lines) {
			ended, err := leave(tx, m, l)
			if err != nil {
				return nil, err
			}
			if !ended {
				continue
			}
			if _, err := letIn(tx, l.SKU, 1); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

// leave takes refunded units from the order's place, which ends with the last
// one. Only the place that this order paid for is meant.
func leave(tx *actors.Tx, m *api.Withdraw, l api.CartTake) (ended bool, err error) {
	e := api.Enrolment{SKU: l.SKU, User: m.User, Order: m.Order}
	err = tx.Row(`UPDATE enrolment SET units = max(units - ?4, 0),
		state = iif(units > ?4, state, 'withdrawn'), ended = iif(units > ?4, 0, ?5)
		WHERE user_id = ?1 AND sku = ?2 AND order_id = ?3 AND state <> 'withdrawn'
		RETURNING state, at, ended, (SELECT title FROM course WHERE sku = ?2)`,
		m.User, l.SKU, m.Order, l.Quantity, tx.Now()).Scan(&e.State, &e.At, &e.Ended, &e.Title)
	if errors.Is(err, actors.ErrNoRows) {
		return false, nil
	}
	if err != nil || e.State != api.EnrolmentWithdrawn {
		return false, err
	}
	return true, tell(tx, api.EventWithdrawn, &e)
}

// sweep lets in those who wait for free seats: more were added than one
// message may fill.
func sweep(tx *actors.Tx) (more bool, err error) {
	var skus []string
	if err := tx.Each(func(r actors.Row) error {
		var sku string
		err := r.Scan(&sku)
		skus = append(skus, sku)
		return err
	}, `SELECT sku FROM course INDEXED BY course_waiting
		WHERE waiting > 0 AND (seats < 0 OR enrolled < seats) LIMIT +?`,
		maxLetIn); err != nil {
		return false, err
	}
	left := maxLetIn
	for i := 0; i < len(skus) && left > 0; i++ {
		n, err := letIn(tx, skus[i], left)
		if err != nil {
			return false, err
		}
		left -= n
	}
	return left == 0, nil
}
