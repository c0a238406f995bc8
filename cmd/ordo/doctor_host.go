package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// minSQLite is the first version without the WAL-reset bug.
const minSQLite = "3.51.3"

// versions looks at what the binary is made of.
func (d *doctor) versions(ctx context.Context) {
	v, err := readVersions(ctx)
	if err != nil {
		d.fail("version.sqlite", "this binary can't open databases; install another", "%v", err)
		return
	}
	d.ok("version.ordo", "%s %.12s", v.Version, v.Commit)
	d.ok("version.go", "%s", v.Go)
	d.ok("version.nats-server", "%s", or(v.NATSServer, "unknown"))
	d.judgeSQLite(v.SQLite)
}

func (d *doctor) judgeSQLite(version string) {
	if olderVersion(version, minSQLite) {
		d.fail("version.sqlite",
			"older ones may damage a file when its log is reset: install another "+
				"build", "%s is older than %s", version, minSQLite)
		return
	}
	d.ok("version.sqlite", "%s", version)
}

// olderVersion tells whether a comes before b; both are numbers with dots, and may
// begin with v.
func olderVersion(a, b string) bool {
	as, bs := versionParts(a), versionParts(b)
	for i := range as {
		if as[i] != bs[i] {
			return as[i] < bs[i]
		}
	}
	return false
}

// versionParts are the first three numbers of a version.
func versionParts(v string) (parts [3]int) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, text := range strings.SplitN(v, ".", 3) {
		parts[i], _ = strconv.Atoi(text) // what is no number counts as 0
	}
	return parts
}

// clock asks the kernel whether somebody keeps the time right.
func (d *doctor) clock() {
	var x unix.Timex // with no mode set nothing is changed
	state, err := unix.Adjtimex(&x)
	if err != nil {
		d.warn("clock.sync", "look at `timedatectl`", "the kernel does not tell: %v", err)
		return
	}
	d.judgeClock(state, x.Status, time.Duration(x.Maxerror)*time.Microsecond)
}

// States and flags of adjtimex(2).
const (
	clockInsert, clockDelete = 1, 2 // a leap second is announced for today
	clockUnsynchronised      = 0x40
)

func (d *doctor) judgeClock(state int, status int32, wrong time.Duration) {
	switch {
	case status&clockUnsynchronised != 0:
		d.warn("clock.sync",
			"run an NTP client, such as chrony: deadlines and the age of messages are "+
				"read from the clock", "nobody keeps the clock right, as far as the kernel knows")
	case state == clockInsert || state == clockDelete:
		d.warn("clock.sync", "nothing breaks, but use a time source that smears it",
			"a leap second "+
				"comes at the end of the day")
	default:
		d.ok("clock.sync", "synchronised, %s wrong at most", wrong.Round(time.Millisecond))
	}
}

// What a process of a shop should have.
const (
	minFiles, wantFiles   = 256, 4096
	minMemory, wantMemory = 128 << 20, 512 << 20
)

// limits looks at what the machine and its settings leave to a process.
func (d *doctor) limits() {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err == nil {
		d.judgeFiles(files.Max) // Go takes all it may have
	}
	d.judgeProcessors(runtime.NumCPU(), os.Getenv("GOMAXPROCS"))
	d.memory()
}

func (d *doctor) judgeFiles(most uint64) {
	const do = "raise it: `ulimit -n`, LimitNOFILE= of systemd"
	switch {
	case most < minFiles:
		d.fail("limit.files", do, "%d files may be open", most)
	case most < wantFiles:
		d.warn("limit.files", do+"; each connection takes one", "%d files may be open", most)
	default:
		d.ok("limit.files", "%d files may be open", most)
	}
}

func (d *doctor) judgeProcessors(cores int, set string) {
	n, err := strconv.Atoi(set)
	if err == nil && n < 2*cores {
		d.warn("limit.processors",
			"leave it unset: actors block in fsync, so serve takes four a core",
			"GOMAXPROCS=%d on %d cores", n, cores)
		return
	}
	d.ok("limit.processors", "%d cores", cores)
}

// memory is what is available on the machine, or less where a control group has
// a limit.
func (d *doctor) memory() {
	available, found := int64(0), false
	text, err := os.ReadFile(filepath.Join(d.proc, "meminfo"))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			available, found = kib<<10, err == nil
		}
	}
	if !found {
		d.warn("limit.memory", "look at `free`", "the kernel does not tell (%v)", err)
		return
	}
	where := "on this machine"
	text, err = os.ReadFile(filepath.Join(d.cgroup, "memory.max"))
	if most, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil &&
		bad == nil && most < available {
		available, where = most, "to this control group"
	}
	const do = "give it more, and set GOMEMLIMIT to nine tenths of it"
	switch {
	case available < minMemory:
		d.fail("limit.memory", do, "%d MiB are left %s", available>>20, where)
	case available < wantMemory:
		d.warn("limit.memory", do, "%d MiB are left %s", available>>20, where)
	default:
		d.ok("limit.memory", "%d MiB are left %s", available>>20, where)
	}
}
