package main

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"ordo/actors/audit"
	"ordo/bus"
)

// auditFiles runs the command over one directory.
func auditFiles(t *testing.T, dir string, flags ...string) (code int, said string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(append([]string{"audit", "--data", dir}, flags...), &out, &errs)
	if errs.Len() > 0 {
		t.Errorf("audit %v: %s", flags, &errs)
	}
	return code, out.String()
}

// Whatever actors there are, their files are looked at.
func TestAuditReadsAllActors(t *testing.T) {
	var made []string
	for _, spec := range specs() {
		made = append(made, spec.Name)
	}
	slices.Sort(made)
	if want := slices.Sorted(slices.Values(bus.ActorNames())); !slices.Equal(made, want) {
		t.Errorf("%v are not the actors %v", made, want)
	}
}

// ACCEPT M11
// The file of any actor that is missing is an error, unless a part is asked
// for; then it is audited as far as it goes.
func TestAuditMissesFiles(t *testing.T) {
	for _, actor := range bus.ActorNames() {
		b, _ := goodsDay.books(t)
		if err := os.Remove(audit.File(b.dir, actor)); err != nil {
			t.Fatal(err)
		}
		code, said := auditFiles(t, b.dir)
		if code != exitFailed || !strings.Contains(said, actor+".db is missing\n") ||
			strings.Count(said, " is missing\n") != 1 || strings.Contains(said, "all adds up") {
			t.Errorf("without %s: exit %d: %s", actor, code, said)
		}
		if code, said = auditFiles(t, b.dir, "--partial"); code != exitOK ||
			!strings.Contains(said, "all adds up") {
			t.Errorf("without %s, --partial: exit %d: %s", actor, code, said)
		}
	}
}

// One actor's own directory is a part, and is audited as far as it goes.
func TestAuditOfOneActor(t *testing.T) {
	b, _ := goodsDay.books(t)
	for _, actor := range bus.ActorNames() {
		if actor == "wallet" {
			continue
		}
		if err := os.Remove(audit.File(b.dir, actor)); err != nil {
			t.Fatal(err)
		}
	}
	if code, said := auditFiles(t, b.dir); code != exitFailed ||
		strings.Count(said, " is missing\n") != len(bus.ActorNames())-1 {
		t.Errorf("exit %d: %s", code, said)
	}
	code, said := auditFiles(t, b.dir, "--partial")
	if code != exitOK || !strings.Contains(said, "a file is missing or damaged: debits\n") ||
		strings.Contains(said, ": accounts\n") {
		t.Errorf("--partial: exit %d: %s", code, said)
	}
	tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance + 1`)
	if code, said = auditFiles(t, b.dir, "--partial"); code != exitFailed ||
		!strings.Contains(said, "DEVIATION accounts") {
		t.Errorf("--partial, with a deviation: exit %d: %s", code, said)
	}
}

// ACCEPT M11
// A file with a page that is overwritten is named, also of an actor that no
// rule asks for; the others are audited all the same.
func TestAuditFindsDamagedFiles(t *testing.T) {
	// All pages but the first, which has the schema.
	pages := func(path string) error {
		text, err := os.ReadFile(path)
		for i := 4096; i < len(text); i++ {
			text[i] = 0xa5
		}
		return errors.Join(err, os.WriteFile(path, text, 0o600))
	}
	foreign := func(path string) error {
		return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600)
	}
	empty := func(path string) error { return os.Truncate(path, 0) }
	for _, test := range []struct {
		name, actor string
		damage      func(path string) error
	}{
		{"pages", "goods", pages}, {"pages", "user", pages}, {"pages", "order", pages},
		{"no database", "user", foreign}, {"empty", "order", empty},
	} {
		b, _ := goodsDay.books(t)
		tamper(t, b.dir, "wallet", `UPDATE account SET balance = balance + 1`)
		if err := test.damage(audit.File(b.dir, test.actor)); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{nil, {"--partial"}} {
			code, said := auditFiles(t, b.dir, flags...)
			if code != exitFailed || !strings.HasPrefix(said, test.actor+".db is damaged: ") ||
				!strings.Contains(said, "DEVIATION accounts") || strings.Contains(said, "SELECT") {
				t.Errorf("%s of %s: exit %d: %s", test.name, test.actor, code, said)
			}
		}
	}
}
