package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ordo/actors"
	"ordo/stores"
)

// noActors, in place of names of actors, runs a process without any.
const noActors = "none"

// downAgain is the time between two tries to start an actor whose file can't be
// used. It is long because each reads the whole file.
const downAgain = 10 * time.Second

// startActors starts the actors side by side. One whose file is damaged or can't
// be used stays down alone, and is tried again until run ends, unless it is all
// there are.
func (s *Shop) startActors(ctx, run context.Context) error {
	if slices.Equal(s.cfg.Only, []string{noActors}) {
		return nil
	}
	s.down = map[string]error{}
	wanted := slices.DeleteFunc(specs(), func(a *actors.Spec) bool { return !s.runs(a.Name) })
	var wg sync.WaitGroup
	for _, spec := range wanted {
		wg.Go(func() { s.startActor(ctx, spec) })
	}
	wg.Wait()
	var errs, others []error
	for _, err := range s.down {
		errs = append(errs, err)
		if !stores.IsFault(err) {
			others = append(others, err)
		}
	}
	if len(others) > 0 || len(errs) == len(wanted) {
		return errors.Join(errs...)
	}
	for _, spec := range wanted {
		if s.down[spec.Name] != nil {
			s.wg.Go(func() { s.startAgain(run, spec) })
		}
	}
	return nil
}

// startActor starts one actor, or notes why it is down.
func (s *Shop) startActor(ctx context.Context, spec *actors.Spec) error {
	h, err := actors.Start(ctx, spec, actors.HostConfig{
		Dir: filepath.Join(s.cfg.Data, "actors"), Connect: s.dial, TakeOver: s.cfg.TakeOver,
		TickEvery: s.cfg.TickEvery, Edge: s.edge, Trace: s.trace, Late: s.meters.timer(spec.Name),
		Log: s.cfg.Log})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.down[spec.Name] = err
		return err
	}
	delete(s.down, spec.Name)
	s.hosts = append(s.hosts, h)
	return nil
}

// startAgain tries to start an actor until it runs or run ends.
func (s *Shop) startAgain(run context.Context, spec *actors.Spec) {
	ticker := time.NewTicker(downAgain)
	defer ticker.Stop()
	for {
		s.mu.Lock()
		err := s.down[spec.Name]
		s.mu.Unlock()
		if err == nil {
			return
		}
		s.cfg.Log.Error("the actor is down", "actor", spec.Name, "err", err)
		select {
		case <-run.Done():
			return
		case <-ticker.C:
		}
		if s.startActor(run, spec) != nil {
			continue
		}
		if s.standing() != nil { // else there is none, or not yet
			if err := s.startAudit(run); err != nil {
				s.cfg.Log.Warn("the audit goes on without an actor", "actor", spec.Name, "err", err)
			}
		}
		return
	}
}

// running are the actors that run now.
func (s *Shop) running() []*actors.Host {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hosts)
}

// downErrors are the actors that could not be started, and why.
func (s *Shop) downErrors() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.down)
}

// downNames are the actors that could not be started, and nats when the embedded
// one is down.
func (s *Shop) downNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.down))
	if s.server != nil && s.server.Fault() != nil {
		names = append(names, "nats")
	}
	return names
}

// ready tells whether all actors of this process are ready and it is not about
// to end, and how each actor is.
func (s *Shop) ready() (bool, any) {
	ok := !s.draining.Load() && s.edge.Connected() && (s.sessions == nil || !s.sessions.Held())
	all := s.statuses()
	for _, status := range all {
		ok = ok && status.Ready
	}
	return ok, all
}

// statuses are how the actors are, and the embedded NATS when it is down.
func (s *Shop) statuses() []actors.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]actors.Status, 0, len(s.hosts)+len(s.down))
	for _, h := range s.hosts {
		all = append(all, h.Status())
	}
	for name, err := range s.down {
		all = append(all, actors.Status{Actor: name, Fault: err.Error()})
	}
	if s.server != nil {
		if err := s.server.Fault(); err != nil {
			all = append(all, actors.Status{Actor: "nats", Fault: err.Error()})
		}
	}
	slices.SortFunc(all, func(a, b actors.Status) int { return strings.Compare(a.Actor, b.Actor) })
	return all
}
