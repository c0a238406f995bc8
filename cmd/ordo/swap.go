package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/stores"
)

const (
	// restoring begins the name of the directory that copies are made in.
	restoring = ".restoring-"
	// replaced begins the name of the directory that old files are put aside in.
	replaced = "replaced-"
	// swapName is the file that says that a swap is under way.
	swapName = "restore.json"
	// swapFormat is the version of its form.
	swapFormat = 1
)

// swap puts complete new files of actors in the place of what is there. From its
// first rename to its last it is written down in the directory of the files, so
// that whoever finds it can go on or back, however the process ended.
//
// As long as the new file of an actor is among the new ones, whatever stands in
// its place is old. So both directions go on from any point: what has been done
// already is not there to be done again.
type swap struct {
	Format int `json:"format"`
	// New and Aside are directories beside the files: of the new ones, and of
	// what was there.
	New    string   `json:"new"`
	Aside  string   `json:"aside"`
	Actors []string `json:"actors"`

	data   string
	rename func(from, to string) error
}

// dir is the directory of the actors' files.
func (s *swap) dir() string { return filepath.Join(s.data, "actors") }

// aside is where what was there is put.
func (s *swap) aside() string { return filepath.Join(s.dir(), s.Aside) }

// made is the new file of an actor before it is in its place.
func (s *swap) made(actor string) string { return filepath.Join(s.dir(), s.New, actor+".db") }

// run swaps all files, or none: when it fails what was done is taken back. When
// that fails too, the swap stays written down.
func (s *swap) run() error {
	if err := s.note(); err != nil {
		err = fmt.Errorf("%w; nothing was changed", err)
		if eerr := s.end(); eerr != nil {
			err = fmt.Errorf("%w; to keep it so, remove %s before anything starts: %w", err,
				filepath.Join(s.dir(), swapName), eerr)
		}
		return err
	}
	err := s.forth()
	if err == nil {
		return nil
	}
	if berr := s.back(); berr != nil {
		return fmt.Errorf("%w; taking it back failed too: %w; old and new files are mixed, and "+
			"nothing starts with them: ordo serve, repair --apply or restore --replace finish the "+
			"restore",
			err, berr)
	}
	return fmt.Errorf("%w; nothing was changed", err)
}

// note writes the swap down, with its directories on the disk.
func (s *swap) note() error {
	text, err := json.Marshal(s)
	if err == nil {
		err = stores.Sync(filepath.Join(s.dir(), s.New))
	}
	part := filepath.Join(s.dir(), s.New, swapName)
	if err == nil {
		err = os.WriteFile(part, append(text, '\n'), 0o600)
	}
	if err == nil {
		err = stores.Publish(part, filepath.Join(s.dir(), swapName))
	}
	return err
}

// forth finishes the swap, from wherever it has come to.
func (s *swap) forth() error {
	if err := os.MkdirAll(s.aside(), 0o700); err != nil {
		return err
	}
	waiting := slices.DeleteFunc(slices.Clone(s.Actors), func(actor string) bool {
		_, err := os.Lstat(s.made(actor))
		return errors.Is(err, fs.ErrNotExist)
	})
	for _, actor := range waiting {
		if err := s.move(places(audit.File(s.data, actor)), s.aside()); err != nil {
			return err
		}
	}
	// No new name may reach the disk before the old ones are off it.
	if err := s.sync(); err != nil {
		return err
	}
	for _, actor := range waiting {
		if err := s.move([]string{s.made(actor)}, s.dir()); err != nil {
			return err
		}
	}
	return s.end()
}

// back puts what was there in its place again.
func (s *swap) back() error {
	for _, actor := range s.Actors {
		if _, err := os.Lstat(s.made(actor)); err == nil {
			continue
		}
		if err := s.move([]string{audit.File(s.data, actor)},
			filepath.Join(s.dir(), s.New)); err != nil {
			return err
		}
	}
	if err := s.sync(); err != nil {
		return err
	}
	for _, actor := range s.Actors {
		if err := s.move(places(filepath.Join(s.aside(), actor+".db")), s.dir()); err != nil {
			return err
		}
	}
	return s.end()
}

// places are all that belongs to an actor's file.
func places(path string) []string {
	return []string{path, path + "-wal", path + "-shm", actors.SnapshotDir(path)}
}

// move renames those of the paths that are there into a directory.
func (s *swap) move(paths []string, dir string) error {
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := s.rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			return err
		}
	}
	return nil
}

// sync has all renames so far reach the disk.
func (s *swap) sync() error {
	for _, dir := range []string{s.aside(), filepath.Join(s.dir(), s.New), s.dir()} {
		if err := stores.Sync(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// end strikes the swap out, which makes it final, and removes what it leaves.
func (s *swap) end() error {
	if err := s.sync(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir(), swapName)); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := stores.Sync(s.dir()); err != nil {
		return err
	}
	// What can't be removed here harms nobody: the next restore removes it.
	if entries, err := os.ReadDir(s.aside()); err == nil && len(entries) == 0 {
		_ = os.Remove(s.aside())
	}
	_ = os.RemoveAll(filepath.Join(s.dir(), s.New))
	return nil
}

// readSwap is the swap that a data directory is in the middle of; nil for none.
func readSwap(data string) (*swap, error) {
	path := filepath.Join(data, "actors", swapName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &swap{data: data, rename: os.Rename}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errUnreadable, path, err)
	}
	local := s.New == filepath.Base(s.New) && s.Aside == filepath.Base(s.Aside) &&
		strings.HasPrefix(s.New, restoring) && strings.HasPrefix(s.Aside, replaced)
	if err := checkActors(s.Actors); err != nil || s.Format != swapFormat || !local {
		return nil, fmt.Errorf("%w: %s is not of this program: %w", errUnreadable, path,
			errors.Join(err, fmt.Errorf("format %d", s.Format)))
	}
	return s, nil
}

// refuseHalfSwapped answers errUnreadable for data directories that a restore
// has left in the middle: their files are of two moments.
func refuseHalfSwapped(dirs ...string) error {
	for _, dir := range dirs {
		s, err := readSwap(dir)
		if err != nil {
			return err
		}
		if s != nil {
			return fmt.Errorf("%w: a restore of %s has not come to its end: ordo serve, repair "+
				"--apply or restore --replace finish it", errUnreadable, dir)
		}
	}
	return nil
}

// finishSwaps ends the restores that data directories are in the middle of, and
// says so.
func finishSwaps(log *slog.Logger, dirs ...string) error {
	for _, dir := range dirs {
		aside, err := finishSwap(dir)
		if err != nil {
			return err
		}
		if aside != "" {
			log.Warn("a restore that had not come to its end is finished", "data", dir,
				"replaced", aside)
		}
	}
	return nil
}

// finishSwap ends the restore that a data directory is in the middle of, if it
// is: all its files are new then. It answers where the old ones are, empty when
// there was nothing to do. Nobody may have the files open.
func finishSwap(data string) (aside string, err error) {
	s, err := readSwap(data)
	if err != nil || s == nil {
		return "", err
	}
	unlock, err := lockActors(data, s.Actors)
	defer func() { err = errors.Join(err, unlock()) }()
	if err != nil {
		return "", fmt.Errorf("a restore is half done, or under way: %w", err)
	}
	// Whoever had the locks may have finished it.
	if s, err = readSwap(data); err != nil || s == nil {
		return "", err
	}
	if err := s.forth(); err != nil {
		return "", fmt.Errorf("a restore is half done, and can't be finished: %w", err)
	}
	return s.aside(), nil
}

// lockActors takes the locks of actors' files, and answers what gives them back,
// also with an error.
func lockActors(data string, names []string) (unlock func() error, err error) {
	var locks []*os.File
	unlock = func() error {
		var errs []error
		for _, lock := range locks {
			errs = append(errs, lock.Close())
		}
		return errors.Join(errs...)
	}
	for _, name := range names {
		lock, err := stores.Lock(audit.File(data, name) + ".lock")
		if err != nil {
			return unlock, fmt.Errorf("%s: %w", name, err)
		}
		locks = append(locks, lock)
	}
	return unlock, nil
}
