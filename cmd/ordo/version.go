package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"ordo/stores"
)

// Version is the release of ordo.
const Version = "0.1.0"

// VersionCmd prints the version of ordo and of what it is made of.
type VersionCmd struct{}

// Run implements the command.
func (*VersionCmd) Run(ctx context.Context, t *terminal) error {
	sqlite, err := stores.Version(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "ordo %s, %s, SQLite %s", Version, runtime.Version(), sqlite)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/nats-io/nats-server/v2" {
				fmt.Fprintf(t.Out, ", NATS %s", m.Version)
			}
		}
	}
	fmt.Fprintln(t.Out)
	return nil
}
