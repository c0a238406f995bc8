package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ordo/actors/audit"
	"ordo/bus"
	"ordo/stores"
)

// data looks at the data directory and what it is on, and answers where the NATS
// of the shop that runs on it listens, if one does.
func (d *doctor) data(ctx context.Context) (nats string) {
	dir := d.cmd.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.warn("data.directory", "the first start makes it; else say --data", "%s is not there",
			dir)
		return ""
	case err != nil:
		d.fail("data.directory", "run as the user of the shop", "%v", err)
		return ""
	case !info.IsDir():
		d.fail("data.directory", "say --data", "%s is no directory", dir)
		return ""
	}
	d.ok("data.directory", "%s", dir)
	d.owner(info)
	d.disk(dir)
	d.token(filepath.Join(dir, "admin-token"))
	d.files(ctx, ownerOf(info))
	d.runners()
	return d.lock(filepath.Join(dir, "lock"))
}

// ownerOf is the user that a file belongs to.
func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return os.Geteuid()
}

func (d *doctor) judgeOwner(owner, user int) {
	switch {
	case owner == user:
		d.ok("data.owner", "it belongs to this user")
	case user == 0:
		d.warn("data.owner",
			"run serve and this as that user: what root makes there the shop can't use",
			"it belongs to user %d", owner)
	default:
		d.fail("data.owner", "run as that user, or chown it",
			"it belongs to user %d, and this is %d",
			owner, user)
	}
}

// owner looks at whose the directory is and who may look into it.
func (d *doctor) owner(info fs.FileInfo) {
	d.judgeOwner(ownerOf(info), os.Geteuid())
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		d.fail("data.permissions", "chmod 700: it holds shoppers' data and the admin token",
			"others may get in: %04o", mode)
	} else {
		d.ok("data.permissions", "%04o", mode)
	}
}

// Space that should be left. A mailbox takes a gibibyte at most, and there are
// nine of them.
const (
	minSpace  = 1 << 30
	wantSpace = 10 << 30
)

// disk looks at the file system of the data directory.
func (d *doctor) disk(dir string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.fail("disk.space", "look at the file system", "%v", err)
		return
	}
	d.judgeSpace(int64(st.Bavail) * st.Bsize)
	d.judgeFileSystem(st.Type)
	took, err := measureSync(dir)
	if err != nil {
		d.fail("disk.fsync", "the shop must be able to write there", "%v", err)
		return
	}
	d.judgeSync(took)
}

func (d *doctor) judgeSpace(left int64) {
	const do = "make room: a full disk has changes refused with 503"
	switch {
	case left < minSpace:
		d.fail("disk.space", do, "%d MiB are left", left>>20)
	case left < wantSpace:
		d.warn("disk.space", do, "%d GiB are left, and the streams alone may take that", left>>30)
	default:
		d.ok("disk.space", "%d GiB are left", left>>30)
	}
}

// fileSystems are those that a shop should not be on, by the kernel's numbers of
// statfs(2), and why.
var fileSystems = map[int64]struct{ level, name, why string }{
	0x01021994: {levelFail, "tmpfs", "it is memory and gone with the machine"},
	0x858458f6: {levelFail, "ramfs", "it is memory and gone with the machine"},
	0x6969:     {levelFail, "NFS", "SQLite's log and locks need a local disk"},
	0x517b:     {levelFail, "SMB", "SQLite's log and locks need a local disk"},
	0xff534d42: {levelFail, "CIFS", "SQLite's log and locks need a local disk"},
	0xfe534d42: {levelFail, "SMB2", "SQLite's log and locks need a local disk"},
	0x794c7630: {levelWarn, "overlayfs", "it is gone with the container: mount a volume there"},
	0x65735546: {levelWarn, "FUSE", "whether it keeps what is synced depends on what is behind it"},
}

func (d *doctor) judgeFileSystem(kind int64) {
	switch f := fileSystems[kind]; f.level {
	case levelFail:
		d.fail("disk.type", "put the data directory on a local disk: "+f.why, "%s", f.name)
	case levelWarn:
		d.warn("disk.type", f.why, "%s", f.name)
	default:
		d.ok("disk.type", "a local one, as far as known (%#x)", kind)
	}
}

// What a sync to a disk takes.
const (
	syncTries = 21
	// syncFast is less than any disk needs that keeps what it was given when the
	// power goes; syncSlow is what a shop gets slow by.
	syncFast = 50 * time.Microsecond
	syncSlow = 20 * time.Millisecond
)

// measureSync is the median time of a small write with fsync, as each commit
// has one. The file that it writes has no name and is gone when it is closed.
func measureSync(dir string) (time.Duration, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0, &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	var took [syncTries]time.Duration
	for i := range took {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took[:])
	return took[syncTries/2], nil
}

func (d *doctor) judgeSync(took time.Duration) {
	shown := took.Round(time.Microsecond)
	switch {
	case took < syncFast:
		d.warn("disk.fsync",
			"no disk is as fast: find out whether what is synced outlives a power cut",
			"%s", shown)
	case took > syncSlow:
		d.warn("disk.fsync", "every batch of orders waits for one: use a faster disk", "%s", shown)
	default:
		d.ok("disk.fsync", "%s", shown)
	}
}

// minToken is the fewest characters of an admin token: 16 random letters and
// digits take longer to guess than there is time.
const minToken = 16

// token looks at the file of the admin token.
func (d *doctor) token(path string) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return // serve is given one, or makes it
	case err != nil:
		d.fail("data.admin-token", "run as the user of the shop", "%v", err)
	case info.Mode().Perm()&0o077 != 0:
		d.fail("data.admin-token", "chmod 600, and replace the token if others could get in",
			"others may read it: %04o", info.Mode().Perm())
	default:
		text, err := os.ReadFile(path)
		if n := len(strings.TrimSpace(string(text))); err != nil || n < minToken {
			d.fail("data.admin-token", "delete the file, and the next start makes another",
				"it has %d characters (%v)", n, err)
			return
		}
		d.ok("data.admin-token", "for the owner alone")
	}
}

// files looks at the actors' files, which must be their directory's owner's.
func (d *doctor) files(ctx context.Context, owner int) {
	there := 0
	for _, actor := range bus.ActorNames() {
		path := audit.File(d.cmd.Data, actor)
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		there++
		if err == nil && ownerOf(info) != owner {
			d.fail("data."+actor, "chown it, with all that is in the directory",
				"it belongs to user %d, "+
					"and the directory to %d", ownerOf(info), owner)
		}
		if err == nil {
			err = readable(ctx, path, d.cmd.Deep)
		}
		if err != nil {
			d.fail("data."+actor, "restore it from a backup: `ordo restore`", "%v", err)
		}
	}
	how := "can be read"
	if d.cmd.Deep {
		how = "are whole"
	}
	d.ok("data.files", "%d of %d actors have files here; those that are not named above %s", there,
		len(bus.ActorNames()), how)
}

// readable reads a database, or all of it when deep.
func readable(ctx context.Context, path string, deep bool) (err error) {
	open := stores.OpenReadOnly
	if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
		open = stores.OpenUnused // to look at it shall leave nothing
	}
	db, err := open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	query, want := "SELECT iif(count(*) > 0, 'ok', 'it has no tables') FROM sqlite_schema", "ok"
	if deep {
		query = "PRAGMA quick_check(1)"
	}
	var got string
	if err := db.QueryRowContext(ctx, query).Scan(&got); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if got != want {
		return fmt.Errorf("%s: %s", path, got)
	}
	return nil
}

// runners tells which actors run on the directory's files, and in which process.
func (d *doctor) runners() {
	by := map[int][]string{}
	for _, actor := range bus.ActorNames() {
		if pid, err := d.holder(audit.File(d.cmd.Data, actor) + ".lock"); err == nil && pid != 0 {
			by[pid] = append(by[pid], actor)
		}
	}
	for _, pid := range slices.Sorted(maps.Keys(by)) {
		d.ok("data.running", "process %d runs %s", pid, strings.Join(by[pid], ", "))
	}
}

// lock tells who runs the shop, and answers where its NATS listens. It does not
// try the lock: for that moment a shop could not start.
func (d *doctor) lock(path string) (nats string) {
	pid, err := d.holder(path)
	switch {
	case err != nil:
		d.warn("data.lock", "look whether a shop is running", "can't be seen: %v", err)
	case pid == 0:
		d.ok("data.lock", "no shop with its own NATS runs on it")
	default:
		d.ok("data.lock", "held by process %d", pid)
		if nats, err = toldURL(path); err != nil {
			nats = ""
		}
	}
	return nats
}

// holder is the process that has locked a file, 0 for none.
func (d *doctor) holder(path string) (pid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	f, err := os.Open(filepath.Join(d.proc, "locks"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return lockedBy(f, fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// lockedBy looks for a file in the kernel's list of locks, proc_locks(5).
func lockedBy(list io.Reader, file string) (pid int, err error) {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == file {
			_, err := fmt.Sscan(f[4], &pid)
			return pid, err
		}
	}
	return 0, lines.Err()
}
