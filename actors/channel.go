package actors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
)

// History kept in the outbox beyond what receivers have committed.
const (
	// OutboxAge is how long committed messages are kept, in stream time.
	OutboxAge = 24 * time.Hour
	// outboxChannelBytes is how many bytes a channel keeps before committed
	// messages go earlier.
	outboxChannelBytes = 16 << 20
	// ResendWindow is the most rows one resend goes ahead.
	ResendWindow = 4096
)

// outbound is what is known of one receiver.
type outbound struct {
	given     int64 // last number given
	committed int64 // last number the receiver is known to have committed
	after     int64 // last number of the epoch before
	first     int64 // lowest number still kept; 0 for none
	firstAt   api.Time
	bytes     int64 // of the messages kept
}

// admit decides by the sender's number whether a message is the next one.
// A gap is reported; a new epoch that follows on what was handled is accepted.
// Source: the design's numbered channels, rules 2 and 4.
func (b *batch) admit(c channelID, d *Delivery) (bool, error) {
	if c.receiver != b.e.self {
		b.out.Skipped++
		return false, nil
	}
	if !b.e.sends(c.actor(), d) {
		return false, b.skip("sender", "a message "+b.e.known(d)+" with a number of "+
			nameOf(c.actor())+", which does not send it, was skipped")
	}
	last, ok := b.in[c.sender]
	if !ok {
		last, ok = b.e.state.in[c.sender]
	}
	switch {
	case !ok:
		last = inbound{c.epoch, 0}
	case last.epoch != c.epoch:
		key := c.sender + "." + c.epoch
		if b.retired[key] || b.e.state.retired[key] {
			b.out.Skipped++
			return false, nil
		}
		if ok, err := b.follow(c, d.After, last); !ok {
			return false, err
		}
		last.epoch = c.epoch
	}
	switch {
	case c.number <= last.number:
		b.out.Skipped++
		return false, nil
	case c.number > last.number+1:
		b.missing(Missing{c.sender, c.epoch, last.number})
		return false, nil
	case !json.Valid(d.Body):
		b.missing(Missing{c.sender, c.epoch, last.number})
		return false, b.damaged(d, nameOf(c.actor()))
	}
	return true, nil
}

// sends tells whether an actor sends such messages.
func (e *Engine) sends(actor string, d *Delivery) bool {
	if strings.HasPrefix(d.Subject, bus.EventPrefix) {
		return strings.HasPrefix(d.Subject, bus.EventPrefix+actor+".")
	}
	senders, some := e.senders[d.verb()]
	return !some || slices.Contains(senders, actor)
}

// nameOf is an actor's name, for people; nobody may choose what it says.
func nameOf(actor string) string {
	if slices.Contains(bus.ActorNames(), actor) {
		return actor
	}
	return "nobody"
}

// follow accepts the new epoch of a sender whose last number in the old epoch
// is not below ours, and retires the old one.
func (b *batch) follow(c channelID, after int64, last inbound) (bool, error) {
	if last.number > after {
		b.out.Skipped++
		return false, b.incident("epoch", fmt.Sprintf(
			"%s starts epoch %s after its number %d, but %d is committed here; run ordo repair",
			c.sender, c.epoch, after, last.number))
	}
	// The old epoch may have begun in this very batch, and not be written yet.
	if _, err := b.e.w.Exec(`INSERT INTO _in (sender, epoch, number, retired) VALUES (?, ?, ?, 1)
		ON CONFLICT DO UPDATE SET number = excluded.number, retired = 1`,
		c.sender, last.epoch, last.number); err != nil {
		return false, err
	}
	b.retired[c.sender+"."+last.epoch] = true
	b.in[c.sender] = inbound{c.epoch, last.number}
	return true, nil
}

// missing reports a gap, once a channel and batch.
func (b *batch) missing(m Missing) {
	b.out.Skipped++
	for i := range b.out.Missing {
		if b.out.Missing[i].Sender == m.Sender {
			b.out.Missing[i] = m
			return
		}
	}
	b.out.Missing = append(b.out.Missing, m)
}

// LastOf is the last number committed from a sender in its present epoch, and
// that epoch.
func (e *Engine) LastOf(sender string) (epoch string, number int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := e.state.in[sender]
	return in.epoch, in.number
}

// Committed notes what a receiver has committed. A number above the last one
// given means that this file is older than what it once sent: the sender must
// stop.
func (e *Engine) Committed(receiver string, number int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.outboundOf(receiver)
	if number > o.given {
		return fmt.Errorf("actors: %s has committed number %d from %s, which has given only %d; "+
			"this file is older than the messages it sent: run ordo repair",
			receiver, number, e.self, o.given)
	}
	o.committed = max(o.committed, number)
	return nil
}

// Receivers are those to whom numbers were given, with the last one given and
// the last one known to be committed.
func (e *Engine) Receivers() map[string][2]int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := make(map[string][2]int64, len(e.state.out))
	for receiver, o := range e.state.out {
		m[receiver] = [2]int64{o.given, o.committed}
	}
	return m
}

// sentMessage is one message as it stands in a row of _sent.
type sentMessage struct {
	Subject string          `json:"subject"`
	Cause   string          `json:"cause"`
	Body    json.RawMessage `json:"body"`
	Apart   bool            `json:"apart"`
}

// resendBytes is about how many bytes of messages one Resend reads at most.
const resendBytes = 8 << 20

// errEnough ends the reading of more rows.
var errEnough = errors.New("enough")

// Resend reads the messages of a channel after a number, about ResendWindow or
// resendBytes at most. They begin later than asked for where the outbox does.
func (e *Engine) Resend(receiver string, after int64) (sent []Sent, err error) {
	size := 0
	err = e.read(func(v *View) error {
		return v.Each(func(r Row) error {
			var first int64
			var text []byte
			if err := r.Scan(&first, &text); err != nil {
				return err
			}
			if size += len(text); len(sent) > 0 && size > resendBytes {
				return errEnough
			}
			var messages []sentMessage
			if err := json.Unmarshal(text, &messages); err != nil {
				return fmt.Errorf("outbox row %s %d: %w", receiver, first, err)
			}
			for i, m := range messages {
				if n := first + int64(i); n > after {
					sent = append(sent, Sent{receiver, n, m.Subject, m.Cause, m.Body, m.Apart})
				}
			}
			return nil
		}, `SELECT first, messages FROM _sent WHERE receiver = ?1 AND first >= coalesce(
			(SELECT max(first) FROM _sent WHERE receiver = ?1 AND first <= ?2 + 1), 0)
			AND first <= ?2 + ?3 ORDER BY first`, receiver, after, ResendWindow)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return sent, err
}

// identity is the message id of a row, and the After that goes with it.
func (e *Engine) identity(s *Sent) (id string, after int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return channelID{e.self, e.epoch, s.Receiver, s.Number}.String(),
		e.outboundOf(s.Receiver).after
}

func (e *Engine) outboundOf(receiver string) *outbound {
	o, ok := e.state.out[receiver]
	if !ok {
		o = &outbound{}
		e.state.out[receiver] = o
	}
	return o
}

// lastGiven is called by the writer, which alone changes given.
func (e *Engine) lastGiven(receiver string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.outboundOf(receiver).given
}

func (e *Engine) loadOutbound(s *state) error {
	if err := e.w.Each(func(r Row) error {
		var receiver string
		o := &outbound{}
		if err := r.Scan(&receiver, &o.given, &o.committed, &o.after); err != nil {
			return err
		}
		s.out[receiver] = o
		return nil
	}, `SELECT receiver, number, committed, after FROM _out`); err != nil {
		return err
	}
	return e.w.Each(func(r Row) error {
		var receiver string
		var first, bytes int64
		var at api.Time
		if err := r.Scan(&receiver, &first, &at, &bytes); err != nil {
			return err
		}
		if o, ok := s.out[receiver]; ok {
			o.first, o.firstAt, o.bytes = first, at, bytes
		}
		return nil
	}, `SELECT receiver, min(first), min(at), sum(length(messages)) FROM _sent GROUP BY receiver`)
}

// writeOutbound writes the messages sent and the numbers given, a row of each
// for every receiver, and prunes what is no longer needed.
func (b *batch) writeOutbound() error {
	rows := map[string]*sentRow{}
	for i := range b.out.Sent {
		s := &b.out.Sent[i]
		row, ok := rows[s.Receiver]
		if !ok {
			row = &sentRow{first: s.Number}
			rows[s.Receiver] = row
		}
		row.add(s)
		if row.text.Len() < maxSentRow {
			continue
		}
		if err := b.writeSent(s.Receiver, row); err != nil {
			return err
		}
		delete(rows, s.Receiver)
	}
	for receiver, row := range rows {
		if err := b.writeSent(receiver, row); err != nil {
			return err
		}
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	for receiver, n := range b.given {
		if _, err := b.e.w.Exec(`INSERT INTO _out (receiver, number, committed) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET number = excluded.number, committed = excluded.committed`,
			receiver, n, b.e.outboundOf(receiver).committed); err != nil {
			return err
		}
	}
	return nil
}

// maxSentRow is about how many bytes of messages one row of _sent holds.
const maxSentRow = 1 << 20

// sentRow gathers what one batch sends to one receiver.
type sentRow struct {
	first, last int64
	text        bytes.Buffer
}

func (r *sentRow) add(s *Sent) {
	if r.last == 0 {
		r.text.WriteByte('[')
	} else {
		r.text.WriteByte(',')
	}
	r.last = s.Number
	r.text.WriteString(`{"subject":`)
	r.text.Write(api.Raw(s.Subject))
	r.text.WriteString(`,"cause":`)
	r.text.Write(api.Raw(s.Cause))
	r.text.WriteString(`,"body":`)
	r.text.Write(s.Body)
	if s.Apart {
		r.text.WriteString(`,"apart":true`)
	}
	r.text.WriteByte('}')
}

func (b *batch) writeSent(receiver string, row *sentRow) error {
	row.text.WriteByte(']')
	if _, err := b.e.w.Exec(`INSERT INTO _sent (receiver, first, last, at, messages)
		VALUES (?, ?, ?, ?, ?)`,
		receiver, row.first, row.last, b.now, row.text.String()); err != nil {
		return err
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	o := b.e.outboundOf(receiver)
	if o.first == 0 {
		o.first, o.firstAt = row.first, b.now
	}
	o.bytes += int64(row.text.Len())
	return b.prune(receiver, o)
}

// prune deletes the two oldest rows of a channel when its receiver has
// committed them and they are too old, or the channel holds too much: each
// batch adds one. What is known of the rows is read again when the batch
// fails.
func (b *batch) prune(receiver string, o *outbound) error {
	if o.bytes < outboxChannelBytes && o.firstAt > b.now.Add(-OutboxAge) {
		return nil
	}
	for range 2 {
		var last, size int64
		err := b.e.w.Row(`DELETE FROM _sent WHERE receiver = ? AND first = ? AND last <= ?
			RETURNING last, length(messages)`, receiver, o.first, o.committed).Scan(&last, &size)
		if errors.Is(err, ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		o.bytes -= size
		o.first = last + 1
		// A repair may have skipped numbers.
		err = b.e.w.Row(`SELECT first, at FROM _sent WHERE receiver = ? AND first >= ?
			ORDER BY first LIMIT 1`, receiver, o.first).Scan(&o.first, &o.firstAt)
		if errors.Is(err, ErrNoRows) {
			o.first = 0
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
