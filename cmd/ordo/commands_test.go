package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"ordo/actors/history"
	"ordo/api"
)

// draw has the drawn part of docs/commands.md written.
var draw = flag.Bool("draw", false, "write what docs/commands.md draws from the command line")

// commandsPart is the part of the page that is made from the command line.
var commandsPart = regexp.MustCompile(`(?s)(<!-- commands -->\n).*?(<!-- end of commands -->\n)`)

// leaves are all commands that can be run, but for hidden ones.
func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	p, err := newParser(&cli{}, os.Stderr, os.Stderr, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return p.Model.Leaves(true)
}

// The page of all commands is as the command line is.
func TestCommandsPage(t *testing.T) {
	const page = "../../docs/commands.md"
	was, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !commandsPart.Match(was) {
		t.Fatalf("%s has no part for the commands", page)
	}
	var b strings.Builder
	for _, node := range leaves(t) {
		drawCommand(&b, node)
	}
	is := commandsPart.ReplaceAllStringFunc(string(was), func(part string) string {
		m := commandsPart.FindStringSubmatch(part)
		return m[1] + b.String() + m[2]
	})
	switch {
	case is == string(was):
	case *draw:
		if err := os.WriteFile(page, []byte(is), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not as the command line is: go test ./cmd/ordo -run TestCommandsPage -draw", page)
	}
}

// drawCommand draws a command with its arguments and flags.
func drawCommand(b *strings.Builder, node *kong.Node) {
	fmt.Fprintf(b, "## %s\n%s\n\n", node.FullPath(), node.Help)
	head := "| | default | |\n|---|---|---|\n"
	for _, p := range node.Positional {
		fmt.Fprintf(b, "%s| %s | | %s |\n", head, strings.ToUpper(p.Name), p.Help)
		head = ""
	}
	for _, f := range node.Flags {
		if f.Name == "help" || f.Hidden {
			continue
		}
		fmt.Fprintf(b, "%s| `--%s%s` | %s | %s |\n", head, f.Name, placeOf(f), defaultOf(f), helpOf(f))
		head = ""
	}
	b.WriteString("\n")
}

// placeOf is what stands for the value of a flag.
func placeOf(f *kong.Flag) string {
	switch {
	case f.IsBool():
		return ""
	case f.PlaceHolder != "":
		return " " + f.PlaceHolder
	case f.Target.Kind() == reflect.Slice && f.Tag.Type == "":
		return " N,…"
	case f.Target.Type() == reflect.TypeFor[time.Duration]():
		return " TIME"
	case f.Target.Kind() != reflect.String && f.Target.Kind() != reflect.Slice:
		return " N"
	}
	return " " + strings.ToUpper(f.Name[strings.LastIndex(f.Name, "-")+1:])
}

func defaultOf(f *kong.Flag) string {
	switch {
	case len(f.Xor) > 0:
		return "one of them"
	case f.Required:
		return "must be said"
	case f.Default == "":
		return ""
	}
	return "`" + f.Default + "`"
}

func helpOf(f *kong.Flag) string {
	if f.Enum == "" {
		return f.Help
	}
	return f.Help + " One of " + strings.Join(f.EnumSlice(), ", ") + "."
}

// printsNoData are the commands that have no result to be read by a program: servers,
// and what prints a file of its own form.
var printsNoData = map[string]bool{"serve": true, "demo": true, "sandbox": true,
	"asyncapi": true, "completion": true, "goods export": true}

// Every command that prints a result prints it as JSON when asked to. That what they
// print is JSON is shown by TestEveryCommandPrintsJSON on a running shop.
func TestEveryCommandHasJSON(t *testing.T) {
	seen := 0
	for _, node := range leaves(t) {
		name, has := strings.TrimPrefix(node.FullPath(), "ordo "), false
		for _, f := range node.Flags {
			has = has || f.Name == "json"
		}
		if !has && !printsNoData[name] {
			t.Errorf("%s has no --json", name)
		}
		seen++
	}
	if seen < 25 {
		t.Errorf("only %d commands", seen)
	}
}

// Every command and flag says what it is for, in a sentence, and a command line that
// lacks what it needs is one of usage.
func TestEveryCommandHelps(t *testing.T) {
	for _, node := range leaves(t) {
		if !strings.HasSuffix(node.Help, ".") {
			t.Errorf("%s: help %q", node.FullPath(), node.Help)
		}
		needs := false
		for _, f := range node.Flags {
			if !strings.HasSuffix(f.Help, ".") {
				t.Errorf("%s --%s: help %q", node.FullPath(), f.Name, f.Help)
			}
			needs = needs || f.Required
		}
		for _, p := range node.Positional {
			needs = needs || p.Required
		}
		if args := strings.Fields(node.FullPath())[1:]; needs {
			ordo(t, exitUsage, args...)
		}
	}
}

// A directory or a file that is named and missing ends every command alike, and
// stdout stays empty.
func TestMissingInputIsUsage(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	order := api.NewID(api.PrefixOrder)
	for _, line := range []string{"audit --data", "audit --json --data", "verify --data",
		"repair --data", "backup " + none + "-2 --data", "at --actor goods --seq 1 --out " + none +
			"-2 --data", "tx ls --data", "tx show " + order + " --data", "restore --data " + none + "-2",
		"reconcile --data " + none + " --statement", "config check",
		"sandbox --app-id 1 --seller-id 2 --gateway-key " + none + " --app-public-key",
		"goods import --admin-token t", "replay --catalog " + none + " --orders",
		"coupon issue --admin-token t --name n --amount 1 --users"} {
		var out, errs bytes.Buffer
		args := append([]string{"--log-level", "error"}, append(strings.Fields(line), none)...)
		if code := run(args, &out, &errs); code != exitUsage || out.Len() > 0 ||
			!strings.Contains(errs.String(), none) {
			t.Errorf("%s: exit %d: %s%s", line, code, &out, &errs)
		}
	}
}

// The end of a command has the same code whichever it was.
func TestExitCodes(t *testing.T) {
	stopped := fmt.Errorf("serve: %w", context.Canceled)
	for _, test := range []struct {
		err     error
		stopped bool
		want    int
	}{
		{nil, true, exitOK}, {errFound, false, exitFailed}, {errors.New("no"), false, exitFailed},
		{stopped, true, exitKilled}, {stopped, false, exitFailed},
		{fmt.Errorf("restore: %w: no backup", errUnreadable), false, exitUsage},
		{fmt.Errorf("tx: %w", history.ErrNoFiles), false, exitUsage},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, false, exitUsage},
		{&fs.PathError{Op: "open", Path: "x", Err: fs.ErrPermission}, false, exitFailed},
	} {
		if got := exitCode(test.err, test.stopped); got != test.want {
			t.Errorf("%v, stopped %t: %d, want %d", test.err, test.stopped, got, test.want)
		}
	}
}

// --version says what the command says, wherever it stands, and takes nothing from
// the environment.
func TestVersionFlag(t *testing.T) {
	want := ordo(t, exitOK, "version")
	for _, args := range [][]string{{"--version"}, {"audit", "--version"}} {
		if got := ordo(t, exitOK, args...); got != want {
			t.Errorf("%v: %q, not %q", args, got, want)
		}
	}
	var v versions
	if err := json.Unmarshal([]byte(ordo(t, exitOK, "version", "--json")), &v); err != nil ||
		v.Version != Version || !strings.HasPrefix(v.Go, "go1.") || v.SQLite < "3.51.3" {
		t.Errorf("%v %+v", err, v)
	}
	t.Setenv("ORDO_VERSION", "true")
	if said := ordo(t, exitUsage, "version"); !strings.Contains(said, "ORDO_VERSION") {
		t.Error(said)
	}
}
