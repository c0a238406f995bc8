package actors

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"ordo/api"
)

// runtimeRules is raised with every release that has the runtime write its own
// tables otherwise than before for the same messages.
const runtimeRules = "3"

//go:embed migrations/*.sql
var migrationFiles embed.FS

// runtimeMigrations are the later versions of the runtime's own tables.
func runtimeMigrations() (fs.FS, error) { return fs.Sub(migrationFiles, "migrations") }

// CutReason says why a stream stopped telling its actor's whole story.
type CutReason string

// The reasons of cuts. From a cut on a file can only be rebuilt from a snapshot
// that was taken after it.
const (
	// CutAnchor: the stream did not hold the message handled last, so it was
	// read again from about 47 h before.
	CutAnchor CutReason = "anchor"
	// CutHole: the stream went on with a later message than the next one.
	CutHole CutReason = "hole"
	// CutDead: a message became a dead letter. Another release may handle it.
	CutDead CutReason = "dead-letter"
	// CutRules: the file was opened by a release with other rules.
	CutRules CutReason = "rules"
	// CutTakeOver: the file took over from another one.
	CutTakeOver CutReason = "take-over"
	// CutRestore: the file came out of a backup.
	CutRestore CutReason = "restore"
	// CutRepair: ordo repair wrote to the file.
	CutRepair CutReason = "repair"
)

// Cut is one place where a stream alone does not tell how a file came about.
type Cut struct {
	// N counts the file's cuts from 1.
	N      int64     `json:"n"`
	Reason CutReason `json:"reason"`
	Text   string    `json:"text"`
	// Created, Seq and At are the file's anchor and time right after it.
	Created api.Time `json:"created"`
	Seq     uint64   `json:"seq"`
	At      api.Time `json:"at"`
}

// Rules is the version of the rules that this release writes a domain's file
// by: a file of others can't be rebuilt.
func (s *Spec) Rules() string { return s.Version + "+" + runtimeRules }

// cutNext has the next batch record a cut. The writer calls it.
func (e *Engine) cutNext(reason CutReason, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cutting = &Cut{Reason: reason, Text: text}
}

// cut notes a cut of this batch.
func (b *batch) cut(reason CutReason, text string) {
	b.cuts = append(b.cuts, Cut{Reason: reason, Text: text})
}

// writeCuts writes the cuts of the batch with the anchor that it leaves behind.
func (b *batch) writeCuts() error {
	if b.e.cutting != nil {
		b.cuts = append(b.cuts, *b.e.cutting)
	}
	for i := range b.cuts {
		c := &b.cuts[i]
		if err := b.e.w.Row(`INSERT INTO _cut (reason, text, created, seq, at)
			VALUES (?, ?, ?, ?, ?) RETURNING n`, c.Reason, c.Text, b.anchor.Created,
			int64(b.anchor.Seq), b.now).Scan(&c.N); err != nil {
			return err
		}
	}
	return nil
}

// checkRules records a cut when the file was written by other rules.
func (e *Engine) checkRules() error {
	var rules string
	var seq int64
	if err := e.w.Row(`SELECT rules, seq FROM _actor`).Scan(&rules, &seq); err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	if rules == e.Spec.Rules() {
		return nil
	}
	return e.write(func() error {
		if _, err := e.w.Exec(`UPDATE _actor SET rules = ?`, e.Spec.Rules()); err != nil {
			return err
		}
		if seq == 0 {
			return nil // it has no story yet
		}
		return e.writeCut(CutRules, fmt.Sprintf("%q before, %q now", rules, e.Spec.Rules()))
	})
}

// writeCut records a cut at the file's present anchor, outside of a batch.
func (e *Engine) writeCut(reason CutReason, text string) error {
	_, err := e.w.Exec(`INSERT INTO _cut (reason, text, created, seq, at)
		SELECT ?, ?, created, seq, now FROM _actor`, reason, text)
	return err
}

// write runs do in a transaction of its own, outside of any batch.
func (e *Engine) write(do func() error) error {
	if err := e.w.Begin("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		_, err = e.w.Exec("COMMIT")
	}
	if err != nil {
		return errors.Join(err, e.w.Rollback())
	}
	return nil
}

// lastCuts is the number of the file's last cut, and of its last one that is not
// a dead letter; 0 for none. pending is true while the next batch will be one.
func (e *Engine) lastCuts() (last, hard int64, pending bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.cut, e.state.hard, e.cutting != nil
}

func (s *state) noteCut(c *Cut) {
	s.cut = max(s.cut, c.N)
	if c.Reason != CutDead {
		s.hard = max(s.hard, c.N)
	}
}
