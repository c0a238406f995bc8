package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ordo/actors"
	"ordo/bus"
	"ordo/stores"
)

// manifestName is the file of a backup that says what is in it.
const manifestName = "manifest.json"

// manifestFormat is the version of the manifest's form.
const manifestFormat = 1

// manifest says what a backup holds.
type manifest struct {
	Format int `json:"format"`
	// Made is when the backup was complete.
	Made time.Time `json:"made"`
	// Version of the program that made it.
	Version string       `json:"version"`
	Actors  []backedFile `json:"actors"`
}

// backedFile is one actor's file in a backup.
type backedFile struct {
	Actor  string `json:"actor"`
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	// Rules are the versions of the rules that it was written by.
	Rules string `json:"rules"`
	// Owner is the id of the file it is a copy of.
	Owner string `json:"owner"`
	// Seq, Time and Message are the last message that it has handled, in the
	// stream made at Stream.
	Stream  time.Time `json:"stream"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
}

// BackupCmd copies the files of all actors, each as it is at one moment, into a
// new directory. The shop may be running. Row P9.
type BackupCmd struct {
	Data []string `help:"Data directory; several when actors have their own." required:"" type:"path"`
	JSON bool     `name:"json" help:"Print what is in it as JSON, as its manifest has it."`
	Dir  string   `arg:"" help:"Directory to make; it may exist and be empty." type:"path"`
}

// Validate refuses a directory that has something in it.
func (c *BackupCmd) Validate() error {
	empty, err := isEmptyDir(c.Dir)
	if err == nil && !empty {
		err = fmt.Errorf("%s is not an empty directory", c.Dir)
	}
	return err
}

// isEmptyDir tells whether there is nothing at a path, or an empty directory.
func isEmptyDir(path string) (bool, error) {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		if info, serr := os.Stat(path); serr == nil && !info.IsDir() {
			return false, nil
		}
		return false, err
	}
	return len(entries) == 0, nil
}

// Run implements the command.
func (c *BackupCmd) Run(ctx context.Context, t *terminal) (err error) {
	files, err := findFiles(c.Data, nil)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(c.Dir), filepath.Base(c.Dir)+".part-")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	m, err := backUp(ctx, files, temp)
	if err == nil {
		err = stores.Publish(temp, c.Dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("backup: %w", err), os.RemoveAll(temp))
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(m)
	}
	for _, b := range m.Actors {
		if _, err := fmt.Fprintf(t.Out, "%-8s %12d bytes, after message %d of %s\n", b.Actor,
			b.Bytes, b.Seq, b.Time.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(t.Out, "%s: %d actors\n", c.Dir, len(m.Actors))
	return err
}

// orderLast are all actors' names, order being the last one.
func orderLast() []string {
	names := slices.DeleteFunc(slices.Clone(bus.ActorNames()), func(name string) bool {
		return name == "order"
	})
	return append(names, "order")
}

// backUp copies files into a directory and writes what they are beside them.
// The order actor's comes last, so that mostly what the others have done was
// asked for by what is there of orders.
func backUp(ctx context.Context, files map[string]string, dir string) (*manifest, error) {
	m := &manifest{Format: manifestFormat, Version: Version}
	for _, actor := range orderLast() {
		if files[actor] == "" {
			continue
		}
		b, err := backUpFile(ctx, actor, files[actor], dir)
		if err != nil {
			return nil, err
		}
		m.Actors = append(m.Actors, *b)
	}
	m.Made = time.Now().UTC().Truncate(time.Second)
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	part := filepath.Join(dir, manifestName+".part")
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return nil, err
	}
	return m, stores.Publish(part, filepath.Join(dir, manifestName))
}

func backUpFile(ctx context.Context, actor, file, dir string) (*backedFile, error) {
	b := &backedFile{Actor: actor, File: actor + ".db"}
	path := filepath.Join(dir, b.File)
	if err := stores.Snapshot(ctx, file, path, 0); err != nil {
		return nil, err
	}
	s, err := actors.ReadStanding(ctx, path)
	if err != nil {
		return nil, err
	}
	b.Rules, b.Owner, b.Stream = s.Rules, s.Owner, s.Anchor.Created.Std().UTC()
	b.Seq, b.Time, b.Message = s.Anchor.Seq, s.Anchor.At.Std().UTC(), s.Anchor.ID
	b.Bytes, b.SHA256, err = sum(path)
	return b, err
}

// sum is the size and the SHA-256 of a file, in hex.
func sum(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// readManifest reads and checks a backup: its files are there, whole, and of
// actors of this shop. errUnreadable: they are not.
func readManifest(dir string) (*manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil,
			fmt.Errorf("%w: %s is no backup: it has no %s", errUnreadable, dir, manifestName)
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnreadable, manifestName, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("%w: %s has format %d, this program reads %d", errUnreadable,
			manifestName, m.Format, manifestFormat)
	}
	seen := map[string]bool{}
	for _, b := range m.Actors {
		if err := checkActors([]string{b.Actor}); err != nil || seen[b.Actor] ||
			b.File != b.Actor+".db" {
			return nil, fmt.Errorf("%w: %s: entry %q: %w", errUnreadable, manifestName, b.Actor,
				errors.Join(err, errors.New("not an actor's file, or a second one")))
		}
		seen[b.Actor] = true
		if err := b.check(dir); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreadable, err)
		}
	}
	return &m, nil
}

// check compares the file in a directory with what was backed up.
func (b *backedFile) check(dir string) error {
	n, hash, err := sum(filepath.Join(dir, b.File))
	if err == nil && (n != b.Bytes || hash != b.SHA256) {
		err = fmt.Errorf("%s is not the file that was backed up", filepath.Join(dir, b.File))
	}
	return err
}

// RestoreCmd puts files of a backup into a data directory whose shop does not
// run. Each becomes a new owner, whose numbers go on under a new epoch. Row P9.
type RestoreCmd struct {
	Data    string   `help:"Data directory." required:"" type:"path"`
	Only    []string `help:"Actors to restore; all of the backup without." placeholder:"ACTORS"`
	Replace bool     `help:"Replace files that are there. They are put aside."`
	JSON    bool     `name:"json" help:"Print what was restored as JSON."`
	Dir     string   `arg:"" help:"Directory of the backup." type:"path"`
}

// Validate refuses what is no actor.
func (c *RestoreCmd) Validate() error { return checkActors(c.Only) }

// Run implements the command.
func (c *RestoreCmd) Run(ctx context.Context, t *terminal) (err error) {
	m, err := readManifest(c.Dir)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	wanted, err := c.wanted(m)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(c.Data, "actors"), 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	lock, err := stores.Lock(filepath.Join(c.Data, "lock"))
	if err != nil {
		return fmt.Errorf("restore: the shop is running: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := finishSwaps(t.Log, c.Data); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	aside := replaced + time.Now().UTC().Format("20060102T150405.000000Z")
	if err := c.restore(ctx, m, wanted, aside); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if c.JSON {
		return c.printJSON(t.Out, wanted, aside)
	}
	for _, b := range wanted {
		if _, err := fmt.Fprintf(t.Out, "%-8s as after message %d of %s\n", b.Actor, b.Seq,
			b.Time.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return c.sayNext(t.Out, filepath.Join(c.Data, "actors", aside))
}

// wanted are the files to restore, none of which may be there without --replace.
func (c *RestoreCmd) wanted(m *manifest) ([]backedFile, error) {
	some := c.chosen(m)
	if len(some) == 0 || len(c.Only) > len(some) {
		return nil, fmt.Errorf("%w: the backup has not all of %v", errUnreadable, c.Only)
	}
	if c.Replace {
		return some, nil
	}
	if err := refuseHalfSwapped(c.Data); err != nil {
		return nil, err
	}
	unused, err := isUnused(c.Data)
	if err == nil && !unused {
		err = fmt.Errorf("%w: %s is not empty; --replace puts what is there aside", errUnreadable,
			c.Data)
	}
	return some, err
}

// chosen are the files of the actors that --only names, or of all.
func (c *RestoreCmd) chosen(m *manifest) (some []backedFile) {
	for _, name := range bus.ActorNames() {
		for _, b := range m.Actors {
			if b.Actor == name && (len(c.Only) == 0 || slices.Contains(c.Only, name)) {
				some = append(some, b)
			}
		}
	}
	return some
}

// isUnused tells whether a data directory has nothing but what a restore that
// did not come to its end leaves.
func isUnused(data string) (bool, error) {
	for _, dir := range []string{data, filepath.Join(data, "actors")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, e := range entries {
			name := e.Name()
			if name != "lock" && name != "actors" && filepath.Ext(name) != ".lock" &&
				!strings.HasPrefix(name, restoring) {
				return false, nil
			}
		}
	}
	return true, nil
}

// restore makes all files first, and changes what is there only when they are
// complete. The locks of the actors are held all the time.
func (c *RestoreCmd) restore(ctx context.Context, m *manifest, wanted []backedFile,
	aside string) (err error) {
	s := &swap{Format: swapFormat, Aside: aside, data: c.Data, rename: os.Rename}
	for _, b := range wanted {
		s.Actors = append(s.Actors, b.Actor)
	}
	unlock, err := lockActors(c.Data, s.Actors)
	defer func() { err = errors.Join(err, unlock()) }()
	if err != nil {
		return err
	}
	// The data directory is locked: what is left of others is of killed ones.
	left, err := filepath.Glob(filepath.Join(s.dir(), restoring+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(s.dir(), restoring)
	if err != nil {
		return err
	}
	s.New = filepath.Base(temp)
	for _, b := range wanted {
		if err := c.makeFile(ctx, m, &b, temp); err != nil {
			err = fmt.Errorf("%s: %w; nothing was changed", b.Actor, err)
			return errors.Join(err, os.RemoveAll(temp))
		}
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(fmt.Errorf("%w; nothing was changed", err), os.RemoveAll(temp))
	}
	return s.run()
}

// makeFile copies one file of the backup and makes it a new owner.
func (c *RestoreCmd) makeFile(ctx context.Context, m *manifest, b *backedFile, temp string) error {
	path := filepath.Join(temp, b.File)
	if err := stores.Snapshot(ctx, filepath.Join(c.Dir, b.File), path, 0); err != nil {
		return err
	}
	e, err := actors.OpenEngine(ctx, specOf(b.Actor), path)
	if err != nil {
		return err
	}
	if err := errors.Join(e.NewEpoch(actors.CutRestore, "from the backup of "+
		m.Made.Format(time.RFC3339)), e.Close()); err != nil {
		return err
	}
	// A swap moves one file: closing it must have emptied the WAL into it.
	if _, err := os.Lstat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s-wal is still there", path), err)
	}
	return stores.Sync(path)
}

// sayNext tells what to do with the restored directory.
func (c *RestoreCmd) sayNext(w io.Writer, aside string) error {
	var b strings.Builder
	if _, err := os.Stat(aside); err == nil {
		fmt.Fprintf(&b, "what was there is in %s\n", aside)
	}
	next := c.next()
	fmt.Fprintf(&b, "next: %s\nthen: %s\n", next[0], next[1])
	_, err := io.WriteString(w, b.String())
	return err
}

// next are the two commands that follow a restore.
func (c *RestoreCmd) next() [2]string {
	take := ""
	if _, err := os.Stat(filepath.Join(c.Data, "nats")); err == nil {
		take = " --take-over"
	}
	return [2]string{"ordo repair --data " + c.Data, "ordo serve --data " + c.Data + take}
}

// restored is what a restore did.
type restored struct {
	Actors []backedFile `json:"actors"`
	// Aside is where what was there is; empty when nothing was.
	Aside string    `json:"aside,omitempty"`
	Next  [2]string `json:"next"`
}

func (c *RestoreCmd) printJSON(w io.Writer, wanted []backedFile, aside string) error {
	r := restored{Actors: wanted, Next: c.next(),
		Aside: filepath.Join(c.Data, "actors", filepath.Base(aside))}
	if _, err := os.Stat(r.Aside); err != nil {
		r.Aside = ""
	}
	return json.NewEncoder(w).Encode(&r)
}
