package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"ordo/stores"
)

// Version is the release of ordo.
const Version = "0.1.0"

// versions are those of ordo and of what it is made of.
type versions struct {
	Version string `json:"version"`
	// Commit is what it was built from, with a + when files were changed; empty
	// when the build does not know.
	Commit     string `json:"commit"`
	Go         string `json:"go"`
	NATSServer string `json:"nats_server"`
	SQLite     string `json:"sqlite"`
}

func readVersions(ctx context.Context) (*versions, error) {
	sqlite, err := stores.Version(ctx)
	if err != nil {
		return nil, err
	}
	v := &versions{Version: Version, Go: runtime.Version(), SQLite: sqlite}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v, nil
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/nats-io/nats-server/v2" {
			v.NATSServer = m.Version
		}
	}
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	v.Commit += changed
	return v, nil
}

// print prints the versions on a line.
func (v *versions) print(w io.Writer) error {
	commit := ""
	if v.Commit != "" {
		commit = fmt.Sprintf(" (%.12s)", v.Commit)
	}
	_, err := fmt.Fprintf(w, "ordo %s%s, %s, SQLite %s, NATS %s\n", v.Version, commit, v.Go,
		v.SQLite,
		or(v.NATSServer, "unknown"))
	return err
}

// VersionCmd prints the version of ordo and of what it is made of.
type VersionCmd struct {
	JSON bool `name:"json" help:"Print it as JSON."`
}

// Run implements the command.
func (c *VersionCmd) Run(ctx context.Context, t *terminal) error {
	v, err := readVersions(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(v)
	}
	return v.print(t.Out)
}

// versionFlag is --version, which does what the command does.
type versionFlag bool

// BeforeReset implements kong's hook: the flag is met before commands are.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	v, err := readVersions(context.Background())
	if err == nil {
		err = v.print(app.Stdout)
	}
	if err == nil {
		app.Exit(exitOK)
	}
	return err
}
