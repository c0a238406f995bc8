package actors

import (
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/failpoint"
	"ordo/stores"
)

// batch is one transaction over many messages: what they changed in the
// runtime's knowledge, to be written at its end and believed at its commit.
type batch struct {
	e *Engine
	// careful runs a savepoint a message.
	careful bool
	now     api.Time
	config  json.RawMessage
	anchor  Anchor
	in      map[string]inbound // changed senders
	retired map[string]bool
	given   map[string]int64 // last number given, changed receivers
	// created is the created-time of the stream, 0 until it is known.
	created api.Time
	cuts    []Cut
	edges   int64
	late    int64
	out     Output
}

func (e *Engine) newBatch(created api.Time, careful bool) *batch {
	return &batch{e: e, created: created, careful: careful, now: e.state.now,
		config: e.state.config,
		anchor: e.state.anchor, in: map[string]inbound{}, retired: map[string]bool{},
		given: map[string]int64{}}
}

// messageFault is a fault of one message, not of the store.
type messageFault struct {
	n   int // its place in the batch
	err error
}

func (f *messageFault) Error() string { return f.err.Error() }
func (f *messageFault) Unwrap() error { return f.err }

// Apply handles messages in order in one transaction and returns what is to be
// done outside now that it is committed. created is the created-time of the
// stream they came from. A message that faults is tried alone and then becomes
// a dead letter; what precedes it is committed. An error is a fault of the
// store: nothing is known to have happened, and the same messages must be
// given again.
func (e *Engine) Apply(created api.Time, in []Delivery) (*Output, error) {
	total := &Output{}
	for len(in) > 0 {
		out, n, err := e.applySome(created, in)
		if err != nil {
			return total, err
		}
		total.add(out)
		in = in[n:]
	}
	return total, nil
}

// applySome commits the first n messages: all of them, or those before one
// that faults, or that one.
func (e *Engine) applySome(created api.Time, in []Delivery) (out *Output, n int, err error) {
	out, err = e.run(created, in, false)
	if err == nil {
		return out, len(in), nil
	}
	if stores.IsFault(err) {
		return nil, 0, err
	}
	out, err = e.run(created, in, true)
	if err == nil {
		return out, len(in), nil
	}
	var fault *messageFault
	if !errors.As(err, &fault) {
		return nil, 0, err
	}
	if fault.n > 0 {
		out, err = e.run(created, in[:fault.n], true)
		return out, fault.n, err
	}
	return e.quarantine(created, &in[0], fault.err)
}

// quarantine tries one message on its own and then writes it as a dead letter,
// in the transaction that counts it as handled.
func (e *Engine) quarantine(created api.Time, d *Delivery, cause error) (*Output, int, error) {
	for range maxTries - 1 {
		out, err := e.run(created, []Delivery{*d}, true)
		if err == nil {
			return out, 1, nil
		}
		var fault *messageFault
		if !errors.As(err, &fault) {
			return nil, 0, err
		}
		cause = fault.err
	}
	b := e.newBatch(created, true)
	if err := b.begin(); err != nil {
		return nil, 0, err
	}
	if err := b.bury(d, cause); err != nil {
		return nil, 0, b.abort(err)
	}
	if err := b.commit(); err != nil {
		return nil, 0, b.abandon(err)
	}
	return &b.out, 1, nil
}

// run handles all messages in one transaction, or none.
func (e *Engine) run(created api.Time, in []Delivery, careful bool) (*Output, error) {
	b := e.newBatch(created, careful)
	if err := b.begin(); err != nil {
		return nil, err
	}
	for i := range in {
		if err := b.handle(&in[i]); err != nil {
			if !stores.IsFault(err) && !errors.Is(err, errCareful) {
				err = &messageFault{i, err}
			}
			return nil, b.abort(err)
		}
	}
	if err := b.commit(); err != nil {
		return nil, b.abandon(err)
	}
	return &b.out, nil
}

func (b *batch) begin() error {
	return b.e.w.Begin("BEGIN IMMEDIATE")
}

// abort rolls back and returns err, so that what was done never happened.
func (b *batch) abort(err error) error {
	if rerr := b.e.w.Rollback(); rerr != nil {
		return errors.Join(err, rerr)
	}
	return err
}

// abandon is abort for a commit that failed on its way: what is known of the
// file is read again.
func (b *batch) abandon(err error) error {
	err = b.abort(err)
	if lerr := b.e.load(); lerr != nil {
		return errors.Join(err, lerr)
	}
	return err
}

// handle recognises one message and, when it is new, has it handled.
func (b *batch) handle(d *Delivery) error {
	b.pass(d)
	switch {
	case d.Answer || !b.e.takes(d.Subject):
		return b.skip("foreign", "a message that nobody sent here was skipped")
	case d.ID == "" || len(d.ID) > maxID:
		return b.skip("no-id", "a message "+b.e.known(d)+" has no usable id and was skipped")
	}
	c, isChannel := parseChannelID(d.ID)
	if isChannel {
		if ok, err := b.admit(c, d); !ok {
			return err
		}
		if err := b.invoke(d); err != nil {
			return err
		}
		b.in[c.sender] = inbound{c.epoch, c.number}
		b.out.Handled++
		return nil
	}
	return b.handleEdge(d)
}

// skip passes over a message, and says what is odd about it, in one of few texts: who
// may send an actor anything must not fill its file.
func (b *batch) skip(kind, text string) error {
	b.out.Skipped++
	return b.incident(kind, text)
}

// takes tells whether a subject is one of the actor's. JetStream can be had to deliver
// messages of other streams into this one.
func (e *Engine) takes(subject string) bool {
	return strings.HasPrefix(subject, bus.MailboxSubject(e.Spec.Name, "")) ||
		e.Spec.Events != nil && strings.HasPrefix(subject, bus.EventPrefix)
}

// known is a delivery's verb, for people.
func (e *Engine) known(d *Delivery) string {
	if e.verbs[d.verb()] == nil {
		return "of an unknown kind"
	}
	return d.verb()
}

// damaged notes a message whose body is no JSON. Nobody sends such, and a stream's
// checksums do not cover how long a message's headers are: its body may lack its
// beginning. Whoever asks again is served. Messages that were damaged after they were
// handled end a replay, so this one is a cut.
func (b *batch) damaged(d *Delivery, from string) error {
	if b.out.Damaged == 0 {
		b.out.Damaged = d.Seq
		b.cut(CutHole, fmt.Sprintf("message %d is damaged", d.Seq))
	}
	return b.incident("damaged", "a message "+b.e.known(d)+" of "+from+
		" was damaged in the stream; it is sent again")
}

// pass moves the stream's time and place on to the message. Every message of
// the stream is passed, handled or not, so that the messages up to an anchor are
// all that made the file. A hole before it is a cut.
func (b *batch) pass(d *Delivery) {
	b.now = max(b.now, d.At)
	if d.Seq == 0 {
		return
	}
	if next := b.anchor.Seq + 1; next > 1 && d.Seq > next && b.anchor.Created == b.created &&
		b.e.cutting == nil {
		b.cut(CutHole, fmt.Sprintf("messages %d to %d are not in the stream", next, d.Seq-1))
	}
	b.anchor = Anchor{b.created, d.Seq, d.At, d.ID}
}

// handleEdge handles a message that has an id of its own meaning.
func (b *batch) handleEdge(d *Delivery) error {
	if d.At < b.now.Add(-EdgeMemory) {
		b.late++
		b.out.Skipped++
		return nil
	}
	if !json.Valid(d.Body) {
		b.out.Skipped++
		return b.damaged(d, "an edge")
	}
	hash := sha256.Sum256(d.Body)
	var known []byte
	var refusal, value sql.NullString
	// When a row is forgotten depends on the batches; when it counts does not.
	err := b.e.w.Row(`SELECT hash, refusal, value FROM _edge WHERE id = ? AND at >= ?`, d.ID,
		b.now.Add(-EdgeMemory)).Scan(&known, &refusal, &value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return b.handleNewEdge(d, hash[:])
	case err != nil:
		return err
	}
	b.out.Skipped++
	if string(known) != string(hash[:]) {
		return b.incident("id-reused", "message id "+d.ID+" came again with another body")
	}
	b.wake(d.ID, &api.Result{Hash: known, Refusal: decodeRefusal(refusal), Value: rawOrNil(value)})
	return nil
}

func (b *batch) handleNewEdge(d *Delivery, hash []byte) error {
	result := api.Result{Hash: hash}
	tx, err := b.call(d)
	if err != nil {
		if result.Refusal = api.AsError(err); result.Refusal == nil {
			return err
		}
	} else {
		result.Value = tx.acts.value
		b.collect(d, tx)
	}
	if err := b.remember(d, &result); err != nil {
		return err
	}
	b.wake(d.ID, &result)
	b.out.Handled++
	b.note(d, tx, result.Refusal)
	return nil
}

// remember writes an edge message with its outcome.
func (b *batch) remember(d *Delivery, r *api.Result) error {
	refusal, value := any(nil), any(nil)
	if r.Refusal != nil {
		refusal = string(api.Raw(r.Refusal))
	}
	if r.Value != nil {
		value = string(r.Value)
	}
	_, err := b.e.w.Exec(`INSERT OR REPLACE INTO _edge (id, subject, hash, refusal, value, at)
		VALUES (?, ?, ?, ?, ?, ?)`, d.ID, d.Subject, r.Hash, refusal, value, b.now)
	b.edges++
	return err
}

// invoke handles a message between actors, which must not refuse.
func (b *batch) invoke(d *Delivery) error {
	tx, err := b.call(d)
	if err != nil {
		return err
	}
	b.collect(d, tx)
	b.note(d, tx, nil)
	return nil
}

// call runs the handler. A refusal leaves no writes behind.
func (b *batch) call(d *Delivery) (tx *Tx, err error) {
	tx = &Tx{Conn: b.e.w, b: b, in: d, now: b.now}
	if b.e.watched {
		tx.began = time.Now()
	}
	config := b.config
	if b.careful {
		if _, err := b.e.w.Exec("SAVEPOINT message"); err != nil {
			return tx, err
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	handle, ok := b.e.verbs[d.verb()]
	if !ok {
		return tx, fmt.Errorf("actor %s has no handler for %s", b.e.Spec.Name, d.Subject)
	}
	if err = handle(tx, d.Body); api.AsError(err) != nil && tx.writes > 0 {
		if !b.careful {
			return tx, errCareful
		}
		if _, rerr := b.e.w.Exec("ROLLBACK TO message"); rerr != nil {
			return tx, rerr
		}
		b.config = config
	}
	return tx, err
}

// collect gives the messages sent their numbers and keeps what is to be done
// outside.
func (b *batch) collect(d *Delivery, tx *Tx) {
	if b.e.watched {
		tx.relate()
	}
	for _, s := range tx.acts.sends {
		receiver := bus.Address(s.receiver)
		n, ok := b.given[receiver]
		if !ok {
			n = b.e.lastGiven(receiver)
		}
		n++
		b.given[receiver] = n
		b.out.Sent = append(b.out.Sent, Sent{Receiver: receiver, Number: n, Subject: s.subject,
			Cause: d.ID, Apart: s.apart, Body: s.body})
	}
	b.out.Steps = append(b.out.Steps, tx.acts.steps...)
	b.out.Timers = append(b.out.Timers, tx.acts.timers...)
	b.out.Effects = append(b.out.Effects, tx.acts.effects...)
	b.out.Wakes = append(b.out.Wakes, tx.acts.wakes...)
}

// maxIncidents is how many incidents an actor's file keeps, the newest.
const maxIncidents = 10_000

// incident records what an operator must look at, once for the same text among
// the newest ones: a sender that is told nothing sends it again and again.
func (b *batch) incident(kind, text string) error {
	n, err := b.e.w.Exec(`INSERT INTO _incident (kind, text, at) SELECT ?1, ?2, ?3
		WHERE NOT EXISTS (SELECT 1 FROM (SELECT kind, text FROM _incident ORDER BY n DESC LIMIT 100)
			WHERE kind = ?1 AND text = ?2)`, kind, text, b.now)
	if err != nil || n == 0 {
		return err
	}
	_, err = b.e.w.Exec(`DELETE FROM _incident WHERE n <= (SELECT max(n) FROM _incident) - ?`,
		maxIncidents)
	return err
}

func (b *batch) wake(key string, r *api.Result) {
	b.out.Wakes = append(b.out.Wakes, Wake{Key: key, Body: api.Raw(r)})
}

// commit writes what the batch changed in the runtime's tables, commits, and
// makes it the engine's state.
func (b *batch) commit() error {
	if err := b.write(); err != nil {
		return err
	}
	failpoint.At("before-commit", b.e.Spec.Name)
	began := time.Now()
	_, err := b.e.w.Exec("COMMIT")
	ended := time.Now()
	b.e.committing.Add(ended.Sub(began).Nanoseconds())
	if err != nil {
		return err
	}
	for i := range b.out.Seen {
		b.out.Seen[i].Committing, b.out.Seen[i].Committed = began, ended
	}
	b.e.mu.Lock()
	defer b.e.mu.Unlock()
	s := &b.e.state
	s.now, s.anchor, s.config = b.now, b.anchor, b.config
	for i := range b.cuts {
		s.noteCut(&b.cuts[i])
	}
	b.e.cutting = nil
	for sender, in := range b.in {
		s.in[sender] = in
	}
	for epoch := range b.retired {
		s.retired[epoch] = true
	}
	for receiver, n := range b.given {
		b.e.outboundOf(receiver).given = n
	}
	return nil
}

func (b *batch) write() error {
	for sender, in := range b.in {
		if _, err := b.e.w.Exec(`INSERT INTO _in (sender, epoch, number) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET number = excluded.number`,
			sender, in.epoch, in.number); err != nil {
			return err
		}
	}
	if err := b.writeOutbound(); err != nil {
		return err
	}
	if err := b.forgetEdges(); err != nil {
		return err
	}
	if err := b.writeCuts(); err != nil {
		return err
	}
	a := b.anchor
	_, err := b.e.w.Exec(`UPDATE _actor SET now = ?, created = ?, seq = ?, at = ?, msg_id = ?,
		handled = handled + ?, skipped = skipped + ?, late = late + ?`,
		b.now, a.Created, int64(a.Seq), a.At, a.ID, b.out.Handled, b.out.Skipped, b.late)
	return err
}

// forgetEdges drops remembered edge messages that are too old to come again,
// twice as many as this batch remembered.
func (b *batch) forgetEdges() error {
	cutoff := b.now.Add(-EdgeMemory)
	if b.edges == 0 || b.e.state.oldest == 0 || b.e.state.oldest >= cutoff {
		if b.e.state.oldest == 0 && b.edges > 0 {
			b.e.state.oldest = b.now
		}
		return nil
	}
	// Limited before it is filtered: at has no index, but grows with n.
	if _, err := b.e.w.Exec(`DELETE FROM _edge WHERE n IN (SELECT n FROM
		(SELECT n, at FROM _edge ORDER BY n LIMIT +?) WHERE at < ?)`,
		2*b.edges+64, cutoff); err != nil {
		return err
	}
	return b.e.w.Row(`SELECT coalesce(min(at), 0) FROM (SELECT at FROM _edge ORDER BY n LIMIT 1)`).
		Scan(&b.e.state.oldest)
}
