package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ordo/actors/audit"
	"ordo/bus"
	"ordo/stores"
)

// worst is the level of the worst finding of a check, empty when it was not
// looked at.
func worst(d *doctor, check string) (level string) {
	rank := map[string]int{"": 0, levelOK: 1, levelWarn: 2, levelFail: 3}
	for _, f := range d.all {
		if f.Check == check && rank[f.Level] > rank[level] {
			level = f.Level
		}
	}
	return level
}

// found holds that a check has come out at a level, and that what is not right
// says what to do.
func found(t *testing.T, d *doctor, check, level string) {
	t.Helper()
	if got := worst(d, check); got != level {
		t.Errorf("%s: %q, want %q: %+v", check, got, level, d.all)
	}
	for _, f := range d.all {
		if (f.Do == "") != (f.Level == levelOK) || f.Found == "" {
			t.Errorf("finding %+v", f)
		}
	}
}

// privateDir is a data directory as serve makes it.
func privateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lookAt is a doctor that has looked at a data directory.
func lookAt(t *testing.T, c DoctorCmd) *doctor {
	t.Helper()
	d := newDoctor(&c)
	d.data(t.Context())
	return d
}

// ACCEPT P4
// What a machine has too little of is said, whatever this one has.
func TestDoctorJudgesTheMachine(t *testing.T) {
	const unknown = -1
	b := newBooks(t)
	b.close()
	for i, test := range []struct {
		check, level string
		judge        func(d *doctor)
	}{
		{"version.sqlite", levelFail, func(d *doctor) { d.judgeSQLite("3.51.2") }},
		{"version.sqlite", levelOK, func(d *doctor) { d.judgeSQLite("3.51.10") }},
		{"clock.sync", levelWarn, func(d *doctor) { d.judgeClock(5, clockUnsynchronised, 0) }},
		{"clock.sync", levelWarn, func(d *doctor) { d.judgeClock(clockInsert, 0, time.Millisecond) }},
		{"clock.sync", levelOK, func(d *doctor) { d.judgeClock(0, 0, time.Millisecond) }},
		{"limit.files", levelFail, func(d *doctor) { d.judgeFiles(64) }},
		{"limit.files", levelWarn, func(d *doctor) { d.judgeFiles(1024) }},
		{"limit.files", levelOK, func(d *doctor) { d.judgeFiles(1 << 20) }},
		{"limit.processors", levelWarn, func(d *doctor) { d.judgeProcessors(4, "1") }},
		{"limit.processors", levelOK, func(d *doctor) { d.judgeProcessors(4, "") }},
		{"data.owner", levelFail, func(d *doctor) { d.judgeOwner(0, 1000) }},
		{"data.owner", levelWarn, func(d *doctor) { d.judgeOwner(1000, 0) }},
		{"data.order", levelFail, func(d *doctor) { d.files(t.Context(), os.Geteuid()+1) }},
		{"disk.space", levelFail, func(d *doctor) { d.judgeSpace(1 << 20) }},
		{"disk.space", levelWarn, func(d *doctor) { d.judgeSpace(5 << 30) }},
		{"disk.space", levelOK, func(d *doctor) { d.judgeSpace(50 << 30) }},
		{"disk.type", levelFail, func(d *doctor) { d.judgeFileSystem(0x6969) }},
		{"disk.type", levelWarn, func(d *doctor) { d.judgeFileSystem(0x794c7630) }},
		{"disk.type", levelOK, func(d *doctor) { d.judgeFileSystem(unknown) }},
		{"disk.fsync", levelWarn, func(d *doctor) { d.judgeSync(time.Microsecond) }},
		{"disk.fsync", levelWarn, func(d *doctor) { d.judgeSync(time.Second) }},
		{"disk.fsync", levelOK, func(d *doctor) { d.judgeSync(time.Millisecond) }},
	} {
		t.Run(fmt.Sprint(i, test.check), func(t *testing.T) {
			d := newDoctor(&DoctorCmd{Data: b.dir})
			test.judge(d)
			found(t, d, test.check, test.level)
		})
	}
}

// The memory left is the least that machine and control group leave.
func TestDoctorSeesMemory(t *testing.T) {
	for _, test := range []struct{ kib, group, level string }{
		{"8000000", "max", levelOK}, {"8000000", "100000000", levelFail},
		{"8000000", "300000000", levelWarn}, {"60000", "300000000", levelFail},
		{"", "max", levelWarn},
	} {
		d := newDoctor(&DoctorCmd{})
		d.proc, d.cgroup = t.TempDir(), t.TempDir()
		write(t, filepath.Join(d.proc, "meminfo"), "MemFree: 1 kB\nMemAvailable:  "+test.kib+" kB\n")
		write(t, filepath.Join(d.cgroup, "memory.max"), test.group+"\n")
		d.memory()
		found(t, d, "limit.memory", test.level)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A directory that can't be that of a shop, or is not its owner's alone, is
// found on the real one.
func TestDoctorSeesTheDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "text")
	open := privateDir(t)
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ dir, check, level string }{
		{filepath.Join(file, "below"), "data.directory", levelFail},
		{file, "data.directory", levelFail},
		{file + "-not", "data.directory", levelWarn},
		{open, "data.permissions", levelFail},
		{"/proc/self", "disk.fsync", levelFail}, // root can't write there either
	} {
		found(t, lookAt(t, DoctorCmd{Data: test.dir}), test.check, test.level)
	}
	d := lookAt(t, DoctorCmd{Data: privateDir(t)})
	for _, check := range []string{"data.directory", "data.owner", "data.permissions", "data.files",
		"data.lock"} {
		found(t, d, check, levelOK)
	}
	if worst(d, "disk.fsync") == levelFail || worst(d, "disk.fsync") == "" {
		t.Errorf("%+v", d.all)
	}
}

// A token that others can read, or guess, is found.
func TestDoctorSeesTheAdminToken(t *testing.T) {
	dir := privateDir(t)
	path := filepath.Join(dir, "admin-token")
	for _, test := range []struct {
		text  string
		mode  os.FileMode
		level string
	}{{"adm_ABCDEFGHIJKLMNOP", 0o600, levelOK}, {"adm_ABCDEFGHIJKLMNOP", 0o640, levelFail},
		{"short\n", 0o600, levelFail}} {
		write(t, path, test.text)
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		d := lookAt(t, DoctorCmd{Data: dir})
		found(t, d, "data.admin-token", test.level)
		for _, f := range d.all {
			if strings.Contains(f.Found+f.Do, strings.TrimSpace(test.text)) {
				t.Errorf("the token is shown: %+v", f)
			}
		}
	}
}

// Damage of the first page is always found, and of another one by --deep. To
// look at files changes nothing of them.
func TestDoctorSeesDamage(t *testing.T) {
	b := newBooks(t)
	b.fillMoney()
	b.close()
	if err := os.Chmod(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before := tree(t, b.dir)
	d := lookAt(t, DoctorCmd{Data: b.dir, Deep: true})
	found(t, d, "data.files", levelOK)
	for _, actor := range bus.ActorNames() {
		found(t, d, "data."+actor, "")
	}
	after := tree(t, b.dir)
	for path, text := range after {
		if before[path] != text {
			t.Errorf("changed or made: %s", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
	path := audit.File(b.dir, "goods")
	text := []byte(before[path])
	at := (rootPage(t, path, "ledger") - 1) * 4096
	for i := at; i < at+4096; i++ {
		text[i] = 0xff
	}
	write(t, path, string(text))
	found(t, lookAt(t, DoctorCmd{Data: b.dir}), "data.goods", "")
	found(t, lookAt(t, DoctorCmd{Data: b.dir, Deep: true}), "data.goods", levelFail)
	write(t, path, strings.Repeat("no database ", 1000))
	found(t, lookAt(t, DoctorCmd{Data: b.dir}), "data.goods", levelFail)
}

// rootPage is the number of the first page of a table.
func rootPage(t *testing.T, path, table string) (n int) {
	t.Helper()
	db, err := stores.OpenUnused(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = ?",
		table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// The exit code and the text follow the worst finding, and JSON says the same. What
// this machine lacks is no matter of the test.
func TestDoctorCommand(t *testing.T) {
	dir := privateDir(t)
	var said struct {
		OK       bool
		Findings []finding
	}
	var out, errs bytes.Buffer
	code := run([]string{"doctor", "--data", dir, "--json"}, &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || len(said.Findings) < 10 ||
		said.OK != (code == exitOK) || errs.Len() > 0 {
		t.Errorf("exit %d, %v: %s%s", code, err, &out, &errs)
	}
	for _, f := range said.Findings {
		part, _, _ := strings.Cut(f.Check, ".")
		if f.Level == levelFail && part != "disk" && part != "limit" {
			t.Errorf("%+v", f)
		}
	}
	text := ordo(t, exitFailed, "doctor", "--data", dir, "--admin-token", "short")
	for _, want := range []string{"OK    data.permissions", "FAIL  config.admin-token", " failures"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for _, wrong := range []string{"--server=shop", "--nats=http://x"} {
		ordo(t, exitUsage, "doctor", "--data", dir, wrong)
	}
}
