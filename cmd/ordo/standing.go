package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"ordo/actors/audit"
)

// startAudit has the books of the actors that run in this process audited until
// the end, or until it is called again because there is one more.
func (s *Shop) startAudit(run context.Context) error {
	running := s.running()
	if s.cfg.AuditEvery < 0 || len(running) == 0 {
		return nil
	}
	cfg := audit.StandingConfig{Files: map[string]string{}, Every: s.cfg.AuditEvery,
		Log: s.cfg.Log.With("part", "audit"), Damaged: s.damaged,
		// No sweep may be expected more often than it is configured.
		Bound: max(audit.Bound, 3*s.cfg.TickEvery)}
	for _, h := range running {
		name := h.Status().Actor
		cfg.Files[name] = audit.File(s.cfg.Data, name)
	}
	books := filepath.Join(s.cfg.Data, "sandbox", "sandbox.db")
	if _, err := os.Stat(books); err == nil && s.sandbox != nil {
		cfg.Sandbox = books
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	a := audit.NewStanding(cfg)
	run, cancel := context.WithCancel(run)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopAudit != nil {
		s.stopAudit()
	}
	s.audit, s.stopAudit = a, cancel
	s.wg.Go(func() { a.Run(run) })
	return nil
}

// standing is the audit that runs; nil where there is none.
func (s *Shop) standing() *audit.Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.audit
}

// damaged has an actor stop whose file can't be read to its end: what it would
// write next may destroy more.
func (s *Shop) damaged(actor, problem string) {
	for _, h := range s.running() {
		if h.Status().Actor == actor {
			h.Halt(problem)
		}
	}
}

// auditReport is what /readyz tells of the audit, which everybody may read:
// how many deviations, and not of whom.
func (s *Shop) auditReport() any {
	a := s.standing()
	if a == nil {
		return nil
	}
	return a.Report()
}

// auditFound is what support is told.
func (s *Shop) auditFound() []audit.Deviation {
	a := s.standing()
	if a == nil {
		return []audit.Deviation{}
	}
	return a.Found()
}
