package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// position is where an actor stood when its file was read.
type position struct {
	// now is the newest stream time handled.
	now api.Time
	// in is the last number committed of each sender, out those given to each
	// receiver and what that has been seen to commit; by the actors' names.
	in  map[string]int64
	out map[string]given
}

// given are the numbers of a channel as its sender knows them.
type given struct{ last, committed int64 }

// cut is one reading of all files.
type cut map[string]position

// channel is a sender and a receiver.
type channel struct{ from, to string }

// readPosition reads where an actor stands, from the schema of its name.
func readPosition(ctx context.Context, conn *sql.Conn, schema string) (position, error) {
	p := position{in: map[string]int64{}, out: map[string]given{}}
	err := conn.QueryRowContext(ctx, `SELECT now FROM "`+schema+`"._actor`).Scan(&p.now)
	if err != nil {
		return p, err
	}
	err = each(ctx, conn, func(scan func(...any) error) error {
		var sender string
		var n int64
		err := scan(&sender, &n)
		p.in[actorOf(sender)] = n
		return err
	}, `SELECT sender, max(number) FROM "`+schema+`"._in WHERE retired = 0 GROUP BY sender`)
	if err != nil {
		return p, err
	}
	return p, each(ctx, conn, func(scan func(...any) error) error {
		var receiver string
		var g given
		err := scan(&receiver, &g.last, &g.committed)
		p.out[actorOf(receiver)] = g
		return err
	}, `SELECT receiver, number, committed FROM "`+schema+`"._out`)
}

// actorOf is the actor of an address <actor>.<shard>.
func actorOf(address string) string {
	return address[:max(0, len(address)-len(bus.Shard)-1)]
}

// between are the numbers of a channel that one of its ends had and the other
// had not: above lo, up to hi. When they are on their way, the sender had them.
func (c cut) between(ch channel) (lo, hi int64, underWay bool) {
	g := c[ch.from].out[ch.to]
	n := g.committed
	if p, ok := c[ch.to]; ok {
		n = p.in[ch.from]
	}
	if n <= g.last {
		return n, g.last, true
	}
	return g.last, n, false
}

// all are the channels between the files read.
func (c cut) all() (all []channel) {
	for _, from := range slices.Sorted(maps.Keys(c)) {
		for _, to := range bus.ActorNames() {
			all = append(all, channel{from, to})
		}
	}
	return all
}

// inFlight counts the messages on their way.
func (c cut) inFlight(files map[string]string) (n int) {
	for _, ch := range c.all() {
		if lo, hi, underWay := c.between(ch); underWay && files[ch.from] != "" {
			n += int(hi - lo)
		}
	}
	return n
}

// settle takes the deviations out of found whose orders were on their way, and
// counts them. It answers what is wrong with the channels themselves: numbers
// that a receiver has and its sender has not given, messages that are gone, and
// those that are not handled though both ends went on for longer than the bound,
// which excuse nothing.
func (b *books) settle(ctx context.Context, c cut, found *[]Deviation, excused *int) (
	wrong []Deviation, err error) {
	s := &settling{books: b, cut: c, moving: map[string]bool{}}
	for _, ch := range c.all() {
		lo, hi, _ := c.between(ch)
		if lo == hi {
			continue
		}
		if err := s.read(ctx, ch); err != nil {
			return nil, fmt.Errorf("%s: %w", b.files[ch.from], err)
		}
	}
	n := len(*found)
	*found = slices.DeleteFunc(*found, func(d Deviation) bool {
		return !s.stuck && d.Order != "" && (s.all || s.moving[d.Order])
	})
	*excused += n - len(*found)
	return s.wrong, nil
}

// settling finds the orders that are on their way.
type settling struct {
	*books
	cut    cut
	moving map[string]bool
	// all is true when it can't be told which orders are, stuck when a channel
	// can't go on, so that what is on its way will put nothing right.
	all, stuck bool

	wrong []Deviation
}

// maxUndelivered is how many undelivered messages of a channel are named.
const maxUndelivered = 100

// read reads the messages of a channel that lie between its ends, from the
// sender's outbox as it is now.
func (s *settling) read(ctx context.Context, ch channel) (err error) {
	lo, hi, underWay := s.cut.between(ch)
	db, err := stores.OpenReadOnly(s.files[ch.from])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	var last int64
	if err := conn.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM _out
		WHERE receiver = ?`, bus.Address(ch.to)).Scan(&last); err != nil {
		return err
	}
	if last < hi {
		s.deviate(channels, "", ch.to+"._in "+ch.from, fmt.Sprintf(
			"committed number %d, but %s has given only %d", hi, ch.from, last))
		hi, s.stuck = last, true
	}
	var seen int64
	err = each(ctx, conn, func(scan func(...any) error) error {
		var m unhandled
		if err := scan(&m.number, &m.order, &m.subject, &m.at); err != nil {
			return err
		}
		seen++
		if underWay && s.overdue(ch, &m) {
			return nil
		}
		s.moving[m.order] = true
		return nil
	}, `SELECT s.first + m.key, coalesce(m.value ->> '$.body.order', ''), m.value ->> 'subject',
		s.at
		FROM _sent s, json_each(s.messages) m
		WHERE s.receiver = ?1 AND s.last > ?2 AND s.first <= ?3
			AND s.first + m.key > ?2 AND s.first + m.key <= ?3`, bus.Address(ch.to), lo, hi)
	if err != nil || seen >= hi-lo {
		return err
	}
	if underWay {
		s.deviate(channels, "", ch.from+"._sent "+ch.to, fmt.Sprintf(
			"%d messages after number %d are gone, and %s has not handled them", hi-lo-seen, lo,
			ch.to))
		return nil
	}
	// They were pruned meanwhile.
	s.all = true
	return nil
}

// unhandled is a message that its receiver has not committed.
type unhandled struct {
	number         int64
	order, subject string
	at             api.Time
}

// overdue tells whether both ends of the channel have gone on for longer than
// the bound since the message was sent, and notes it.
func (s *settling) overdue(ch channel, m *unhandled) bool {
	to, ok := s.cut[ch.to]
	limit := m.at.Add(s.bound)
	if !ok || to.now <= limit || s.cut[ch.from].now <= limit {
		return false
	}
	if len(s.wrong) < maxUndelivered {
		s.deviate(undelivered, m.order, fmt.Sprintf("%s._outbox %s %d", ch.from, ch.to, m.number),
			fmt.Sprintf("%s was sent at %s and is not handled", m.subject,
				m.at.Std().UTC().Format("2006-01-02T15:04:05Z")))
	}
	return true
}

func (s *settling) deviate(check, order, row, problem string) {
	s.wrong = append(s.wrong, Deviation{Check: check, Order: order, Row: row, Problem: problem})
}
