package main

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
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
	"completion": true, "goods export": true, "tx ls": true}

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
