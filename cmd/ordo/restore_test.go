package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/bus"
)

// ordo runs a command that must end with a code, and answers what it said.
func ordo(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, &out, &errs); got != code {
		t.Fatalf("%v: exit %d, want %d: %s%s", args, got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// tree is all that a directory holds, but for the empty files of locks.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) == ".lock" || d.Name() == "lock" {
			return err
		}
		if d.IsDir() {
			all[path] = "directory"
			return nil
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// spoil has a backup hold something that is no database under the right hash.
func spoil(t *testing.T, dir, actor string) {
	t.Helper()
	path := filepath.Join(dir, actor+".db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var m manifest
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &m.Actors[slices.IndexFunc(m.Actors, func(b backedFile) bool { return b.Actor == actor })]
	if b.Bytes, b.SHA256, err = sum(path); err == nil {
		text, err = json.Marshal(m)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, manifestName), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// ACCEPT P9: a restore of which a later file can't be made changes nothing, and
// another one then works.
func TestRestoreIsAllOrNothing(t *testing.T) {
	data, top := t.TempDir(), t.TempDir()
	good, bad, fresh := filepath.Join(top, "good"), filepath.Join(top, "bad"), filepath.Join(top, "fresh")
	if err := os.Mkdir(filepath.Join(data, "actors"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range bus.ActorNames() {
		e, err := actors.OpenEngine(t.Context(), specOf(name), audit.File(data, name))
		if err == nil {
			err = e.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ordo(t, 0, "backup", good, "--data", data)
	if err := os.CopyFS(bad, os.DirFS(good)); err != nil {
		t.Fatal(err)
	}
	last := bus.ActorNames()[len(bus.ActorNames())-1]
	spoil(t, bad, last)
	// The first actor has lost its file, not its snapshots.
	lost := audit.File(data, bus.ActorNames()[0])
	snapshot := filepath.Join(actors.SnapshotDir(lost), "kept")
	left := filepath.Join(data, "actors", restoring+"1")
	for _, dir := range []string{filepath.Dir(snapshot), left} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(lost, snapshot); err != nil {
		t.Fatal(err)
	}
	before := tree(t, data)
	delete(before, left)
	if said := ordo(t, 1, "restore", bad, "--data", data, "--replace"); !strings.Contains(said,
		last+": ") || !strings.Contains(said, "nothing was changed") {
		t.Errorf("said %s", said)
	}
	if after := tree(t, data); !maps.Equal(before, after) {
		t.Errorf("before %v, after %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	ordo(t, 0, "restore", good, "--data", data, "--replace")
	for _, name := range bus.ActorNames() {
		path := audit.File(data, name)
		if text, err := os.ReadFile(path); err != nil || string(text) == before[path] {
			t.Errorf("%s was not replaced: %v", name, err)
		}
	}
	aside, err := filepath.Glob(filepath.Join(data, "actors", "replaced-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("aside: %v, %v", aside, err)
	}
	old := tree(t, aside[0])
	for path, text := range before {
		rel, _ := filepath.Rel(filepath.Join(data, "actors"), path)
		if text != "directory" && old[filepath.Join(aside[0], rel)] != text {
			t.Errorf("%s is not aside", rel)
		}
	}
	ordo(t, 1, "restore", bad, "--data", fresh)
	ordo(t, 0, "restore", good, "--data", fresh)
	ordo(t, 2, "restore", good, "--data", fresh)
}
