package actors

import (
	"fmt"

	"ordo/api"
)

// History kept in the outbox beyond what receivers have committed.
const (
	// OutboxAge is how long committed rows are kept.
	OutboxAge = 24 * 60 * 60 // seconds
	// OutboxBytes is how many bytes of bodies a file keeps before committed
	// rows go earlier.
	OutboxBytes = 64 << 20
	// ResendWindow is the most rows one resend goes ahead.
	ResendWindow = 4096
)

// outbound is what is known of one receiver.
type outbound struct {
	given     int64 // last number given
	committed int64 // last number the receiver is known to have committed
	after     int64 // last number of the epoch before
	first     int64 // lowest number still kept; 0 for none
	bytes     int64 // of the bodies kept
}

// admit decides by the sender's number whether a message is the next one.
// A gap is reported; a new epoch that follows on what was handled is accepted.
// Source: the design's numbered channels, rules 2 and 4.
func (b *batch) admit(c channelID, d *Delivery) (bool, error) {
	if c.receiver != b.e.self {
		b.out.Skipped++
		return false, nil
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
		b.pass(d)
		return false, nil
	case c.number > last.number+1:
		b.missing(Missing{c.sender, c.epoch, last.number})
		return false, nil
	}
	return true, nil
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
	if _, err := b.e.w.Exec(`UPDATE _in SET retired = 1 WHERE sender = ?`, c.sender); err != nil {
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

// Resend reads the rows of a channel after a number, ResendWindow at most.
func (e *Engine) Resend(receiver string, after int64) (rows []Sent, err error) {
	err = e.read(func(v *View) error {
		return v.Each(func(r Row) error {
			s := Sent{Receiver: receiver}
			var body string
			if err := r.Scan(&s.Number, &s.Subject, &s.Cause, &body); err != nil {
				return err
			}
			s.Body = []byte(body)
			rows = append(rows, s)
			return nil
		}, `SELECT number, subject, cause, body FROM _outbox
			WHERE receiver = ? AND number > ? ORDER BY number LIMIT ?`, receiver, after, ResendWindow)
	})
	return rows, err
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
		if err := r.Scan(&receiver, &first, &bytes); err != nil {
			return err
		}
		if o, ok := s.out[receiver]; ok {
			o.first, o.bytes = first, bytes
		}
		return nil
	}, `SELECT receiver, min(number), sum(length(body)) FROM _outbox GROUP BY receiver`)
}

// writeOutbound writes the numbers given and prunes the channels that got new
// rows.
func (b *batch) writeOutbound() error {
	fresh := map[string][2]int64{} // rows, bytes
	for i := range b.out.Sent {
		s := &b.out.Sent[i]
		f := fresh[s.Receiver]
		fresh[s.Receiver] = [2]int64{f[0] + 1, f[1] + int64(len(s.Body))}
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	for receiver, n := range b.given {
		o := b.e.outboundOf(receiver)
		if _, err := b.e.w.Exec(`INSERT INTO _out (receiver, number, committed) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET number = excluded.number, committed = excluded.committed`,
			receiver, n, o.committed); err != nil {
			return err
		}
		if err := b.prune(receiver, o, fresh[receiver]); err != nil {
			return err
		}
	}
	return nil
}

// prune deletes committed rows that are too old or too many, at most twice as
// many as the batch added. The counts are estimates that a restart corrects.
func (b *batch) prune(receiver string, o *outbound, fresh [2]int64) error {
	rows := o.given - o.first + 1 + fresh[0]
	if o.first == 0 {
		o.first, rows = o.given+1, fresh[0]
	}
	o.bytes += fresh[1]
	upTo := min(o.committed, o.first+2*fresh[0]+16)
	if upTo < o.first {
		return nil
	}
	if o.bytes < OutboxBytes/4 {
		var at api.Time
		if err := b.e.w.Row(`SELECT at FROM _outbox WHERE receiver = ? AND number = ?`,
			receiver, upTo).Scan(&at); err != nil || at > b.now.Add(-OutboxAge*1e9) {
			return nil
		}
	}
	n, err := b.e.w.Exec(`DELETE FROM _outbox WHERE receiver = ? AND number BETWEEN ? AND ?`,
		receiver, o.first, upTo)
	if err != nil {
		return err
	}
	o.bytes -= min(o.bytes, o.bytes*n/max(rows, 1))
	o.first = upTo + 1
	return nil
}
