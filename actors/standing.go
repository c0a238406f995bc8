package actors

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// ErrOldFile is returned by ReadStanding for a file of an older release, which
// has to be started once, so that it is brought to this one's tables.
var ErrOldFile = errors.New("the file is of an older release: start its actor once")

// Standing is what an actor's file says of itself.
type Standing struct {
	// Owner is the file's random id, Rules what it was written by.
	Owner  string
	Rules  string
	Anchor Anchor
	// Now is the newest stream time handled.
	Now api.Time
	// Cuts are all of the file's, in their order.
	Cuts []Cut
}

// Snapshot is a copy of an actor's file as it was at its anchor.
type Snapshot struct {
	Standing
	Path  string
	Bytes int64
}

// ReadStanding reads what a file says of itself, also one that an actor is
// writing.
func ReadStanding(ctx context.Context, path string) (s *Standing, err error) {
	db, err := stores.OpenReadOnly(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("actors: %s: %w", path, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if s, err = readStanding(ctx, tx); err != nil {
		return nil, fmt.Errorf("actors: %s: %w", path, err)
	}
	return s, nil
}

func readStanding(ctx context.Context, tx *sql.Tx) (*Standing, error) {
	var known int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_schema WHERE name = '_cut'`).
		Scan(&known); err != nil {
		return nil, err
	}
	if known == 0 {
		return nil, ErrOldFile
	}
	var s Standing
	var seq int64
	if err := tx.QueryRowContext(ctx, `SELECT owner, rules, now, created, seq, at, msg_id
		FROM _actor`).Scan(&s.Owner, &s.Rules, &s.Now, &s.Anchor.Created, &seq, &s.Anchor.At,
		&s.Anchor.ID); err != nil {
		return nil, err
	}
	s.Anchor.Seq = uint64(seq)
	rows, err := tx.QueryContext(ctx,
		`SELECT n, reason, text, created, seq, at FROM _cut ORDER BY n`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c Cut
		if err := rows.Scan(&c.N, &c.Reason, &c.Text, &c.Created, &seq, &c.At); err != nil {
			return nil, err
		}
		c.Seq = uint64(seq)
		s.Cuts = append(s.Cuts, c)
	}
	return &s, rows.Err()
}

// hardCut is the number of the last cut before or at a place of the file's
// present stream that is not a dead letter; 0 for none.
func (s *Standing) hardCut(seq uint64) (n int64) {
	for _, c := range s.Cuts {
		if c.Reason != CutDead && (c.Created != s.Anchor.Created || c.Seq <= seq) {
			n = c.N
		}
	}
	return n
}

// lastCut is the number of the last cut; 0 for none.
func (s *Standing) lastCut() int64 {
	if len(s.Cuts) == 0 {
		return 0
	}
	return s.Cuts[len(s.Cuts)-1].N
}

// place is where the anchor is, as the bus asks for it.
func (a *Anchor) place() bus.Place {
	return bus.Place{Created: int64(a.Created), Seq: a.Seq, At: int64(a.At), ID: a.ID}
}

// SnapshotDir is where the snapshots of an actor's file stand.
func SnapshotDir(file string) string { return strings.TrimSuffix(file, ".db") + ".snapshots" }

// Snapshots lists the snapshots of an actor's file, the oldest first. Files that
// can't be read as one are left out.
func Snapshots(ctx context.Context, file string) ([]Snapshot, error) {
	dir := SnapshotDir(file)
	names, err := filepath.Glob(filepath.Join(dir, "*Z-*.db"))
	if err != nil {
		return nil, fmt.Errorf("actors: snapshots: %w", err)
	}
	slices.Sort(names) // they begin with the time
	var all []Snapshot
	for _, path := range names {
		info, err := os.Stat(path)
		if err != nil {
			continue // pruned meanwhile
		}
		s, err := ReadStanding(ctx, path)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		all = append(all, Snapshot{*s, path, info.Size()})
	}
	return all, nil
}

// snapshotName is the name of a snapshot; names are in the order of time.
func snapshotName(s *Standing) string {
	return fmt.Sprintf("%s-%d.db", s.Now.Std().UTC().Format("20060102T150405.000000000Z"),
		s.Anchor.Seq)
}
