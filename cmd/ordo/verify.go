package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/api"
	"ordo/bus"
)

// VerifyCmd rebuilds the files of actors from their streams, in temporary files,
// and compares every table. It exits with 1 and names the first row that
// differs, or the hole that the stream has. The shop may be running or stopped.
// Row M10.
type VerifyCmd struct {
	Data   []string `help:"Data directory; several when actors have their own." required:"" type:"path"`
	NATS   string   `name:"nats" help:"NATS that has the streams; else that of the first directory." placeholder:"URL"`
	JSON   bool     `name:"json" help:"Print the result as JSON."`
	Actors []string `arg:"" optional:"" help:"Actors to verify; all without."`
}

// Validate refuses what is no actor and no URL.
func (c *VerifyCmd) Validate() error {
	errs := []error{checkActors(c.Actors)}
	if c.NATS != "" {
		_, err := natsServers(c.NATS)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func checkActors(names []string) error {
	for _, name := range names {
		if !slices.Contains(bus.ActorNames(), name) {
			return fmt.Errorf("there is no actor %q; there are %s", name,
				strings.Join(bus.ActorNames(), ", "))
		}
	}
	return nil
}

// specOf is the domain of an actor's name, which must be one.
func specOf(name string) *actors.Spec {
	all := specs()
	return all[slices.IndexFunc(all, func(s *actors.Spec) bool { return s.Name == name })]
}

// findFiles finds the files of the named actors, or of all that are there.
// errUnreadable: one of them, or all, are missing, or a restore is half done.
func findFiles(dirs, names []string) (map[string]string, error) {
	if err := refuseHalfSwapped(dirs...); err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, name := range bus.ActorNames() {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		path, err := findFile(dirs, name)
		switch {
		case err != nil:
			return nil, err
		case path != "":
			files[name] = path
		case len(names) > 0:
			return nil, fmt.Errorf("%w: actor %s has no file in %v", errUnreadable, name, dirs)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: there are no actors' files in %v", errUnreadable, dirs)
	}
	return files, nil
}

// findFile finds the one file of an actor; empty when there is none.
func findFile(dirs []string, name string) (found string, err error) {
	for _, dir := range dirs {
		path := audit.File(dir, name)
		_, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", err
		case found != "":
			return "", fmt.Errorf("%w: actor %s has two files: %s and %s", errUnreadable, name,
				found, path)
		default:
			found = path
		}
	}
	return found, nil
}

// Run implements the command.
func (c *VerifyCmd) Run(ctx context.Context, t *terminal) (err error) {
	files, err := findFiles(c.Data, c.Actors)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	s, err := openStreams(ctx, c.Data[0], c.NATS, t.Log)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	all, err := c.verify(ctx, t, files, s)
	if err == nil && c.JSON {
		err = json.NewEncoder(t.Out).Encode(all)
	}
	if err == nil && slices.ContainsFunc(all, func(v *actors.Verification) bool {
		return v.Verdict != actors.VerdictEqual
	}) {
		err = errFound
	}
	return err
}

// verify verifies the files one after the other, and prints each verdict unless
// all are to be one JSON.
func (c *VerifyCmd) verify(ctx context.Context, t *terminal, files map[string]string,
	s *streams) ([]*actors.Verification, error) {
	all := []*actors.Verification{}
	for _, name := range bus.ActorNames() {
		if files[name] == "" {
			continue
		}
		began := time.Now()
		v, err := verifyActor(ctx, name, files[name], s)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", name, err)
		}
		all = append(all, v)
		if c.JSON {
			continue
		}
		if err := printVerdict(t.Out, v, time.Since(began)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func verifyActor(ctx context.Context, name, file string, s *streams) (v *actors.Verification,
	err error) {
	temp, err := os.MkdirTemp("", "ordo-verify-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	return actors.Verify(ctx, specOf(name), file, bus.OpenHistory(s.js, name), temp)
}

func printVerdict(w io.Writer, v *actors.Verification, took time.Duration) error {
	start := "the beginning of the stream"
	if v.Snapshot != "" {
		start = "snapshot " + filepath.Base(v.Snapshot)
	}
	var err error
	switch v.Verdict {
	case actors.VerdictEqual:
		_, err = fmt.Fprintf(w, "%s: equal; %d tables, %d rows; from %s, %d messages, %s\n",
			v.Actor, v.Tables, v.Rows, start, v.Messages, took.Round(time.Millisecond))
	case actors.VerdictDiffers:
		_, err = fmt.Fprintf(w, "%s: DIFFERS: %s; from %s, %d messages\n", v.Actor, v.Difference,
			start, v.Messages)
	case actors.VerdictHole:
		_, err = fmt.Fprintf(w, "%s: HOLE: %s; from %s\n", v.Actor, v.Hole, start)
	default:
		_, err = fmt.Fprintf(w, "%s: UNKNOWN: %s\n", v.Actor, v.Why)
	}
	return err
}

// AtCmd makes a file with an actor's tables as they were after a message, or at
// a time. Row M10.
type AtCmd struct {
	Data  string    `help:"Data directory." required:"" type:"path"`
	Actor string    `help:"Actor." required:"" placeholder:"NAME"`
	Seq   uint64    `help:"Sequence number of the last message in its stream." xor:"when" required:"" placeholder:"N"`
	Time  time.Time `help:"Or its time at most, RFC 3339." xor:"when" required:"" placeholder:"TIME"`
	Out   string    `help:"SQLite file to make." required:"" type:"path" placeholder:"FILE"`
	NATS  string    `name:"nats" help:"NATS that has the streams; else the directory's." placeholder:"URL"`
	JSON  bool      `name:"json" help:"Print what the file holds as JSON."`
}

// Validate refuses what is no actor, and a file that exists.
func (c *AtCmd) Validate() error {
	errs := []error{checkActors([]string{c.Actor})}
	if c.Seq == 0 && c.Time.IsZero() {
		errs = append(errs, errors.New("--seq must be at least 1"))
	}
	if _, err := os.Stat(c.Out); err == nil {
		errs = append(errs, fmt.Errorf("--out: %s exists", c.Out))
	}
	if c.NATS != "" {
		_, err := natsServers(c.NATS)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Run implements the command.
func (c *AtCmd) Run(ctx context.Context, t *terminal) (err error) {
	files, err := findFiles([]string{c.Data}, []string{c.Actor})
	if err != nil {
		return fmt.Errorf("at: %w", err)
	}
	file := files[c.Actor]
	s, err := openStreams(ctx, c.Data, c.NATS, t.Log)
	if err != nil {
		return fmt.Errorf("at: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	standing, err := actors.ReadStanding(ctx, file)
	if err != nil {
		return fmt.Errorf("at: %w", err)
	}
	snapshots, err := actors.Snapshots(ctx, file)
	if err != nil {
		return fmt.Errorf("at: %w", err)
	}
	target := actors.Target{Spec: specOf(c.Actor), Live: standing, Seq: c.Seq}
	if !c.Time.IsZero() {
		target.Seq, target.Until = standing.Anchor.Seq, api.TimeOf(c.Time)
	}
	r, err := target.At(ctx, bus.OpenHistory(s.js, c.Actor), snapshots, c.Out)
	if err != nil {
		return fmt.Errorf("at: %w", err)
	}
	if r.Anchor.Seq == 0 {
		return errors.Join(fmt.Errorf("at: %w: %s had handled nothing by then", errUnreadable,
			c.Actor), os.Remove(c.Out))
	}
	at := r.Anchor.At.Std().UTC().Format(time.RFC3339Nano)
	if c.JSON {
		return json.NewEncoder(t.Out).Encode(struct {
			File  string `json:"file"`
			Actor string `json:"actor"`
			Seq   uint64 `json:"seq"`
			Time  string `json:"time"`
		}{c.Out, c.Actor, r.Anchor.Seq, at})
	}
	_, err = fmt.Fprintf(t.Out, "%s: %s after message %d of %s\n", c.Out, c.Actor, r.Anchor.Seq, at)
	return err
}
