package audit

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"ordo/api"
)

// How the standing audit works.
const (
	// roundEvery is the time between two rounds, if they are quick.
	roundEvery = 5 * time.Second
	// wholeEvery is the time between two runs of a check that reads all rows,
	// pagesEvery that between two readings of all pages of a file.
	wholeEvery = time.Minute
	pagesEvery = time.Hour
	// pagesAgain is the least time between two readings of all pages because a
	// check could not read some.
	pagesAgain = 10 * time.Minute
	// rest is how much longer it rests than it worked, which leaves it 2% of one
	// core at most.
	rest = 49
	// workLimit is how long one piece of work may take.
	workLimit = time.Minute
	// roundTakes is what a round should take: it has more orders or fewer as the
	// last one took less or longer, leastOrders at least and lookOrders at most.
	// A third of them are looked at again, a third are those of which news came,
	// at most; the rest are orders of the past.
	roundTakes  = 150 * time.Millisecond
	leastOrders = 90
	// newsEntries is the most entries of the journal that a round reads.
	newsEntries = 8192
	// maxFound is how many deviations are kept one by one.
	maxFound = 1000
)

// StandingConfig says what is audited.
type StandingConfig struct {
	// Files are the paths of the actors' files in this process.
	Files map[string]string
	// Sandbox is the path of a sandbox's books; empty for none.
	Sandbox string
	// Every replaces the 5 s between two rounds, Whole the minute between two
	// runs of a check that reads all rows, when they are not zero.
	Every, Whole time.Duration
	// Rest is how much longer it rests than it worked; 0 for 49 times.
	Rest int
	// Bound is that of Options.
	Bound time.Duration
	// Damaged, when not nil, is told of a file that can't be read.
	Damaged func(actor, problem string)
	Log     *slog.Logger
}

// Standing audits a shop at work, again and again: in each round the orders of
// which news came, those that looked wrong, and some of the past, one after the
// other until all have been looked at; between rounds the checks that read all
// rows of a file, one at a time. It only reads, never for longer than a copy of
// a round's rows takes or a check of one file, and rests 49 times as long as it
// worked. Row M11.
type Standing struct {
	cfg   StandingConfig
	books books
	look  *look
	// units are the checks that read all rows of a file.
	units []*unit

	// suspects are what a look found, by its key; again are orders to look at
	// once more; strays are orders that the order actor does not know.
	suspects map[string]*suspect
	again    []string
	news     int64 // last entry of the journal looked at; -1 before the first
	past     int64 // last order looked at of the past
	size     int   // orders of the next round
	roundAt  time.Time
	pagesAt  time.Time
	unitAt   time.Time
	// failed says by piece of work why its last run failed.
	failed map[string]string

	mu     sync.Mutex
	report Report
}

// suspect is a deviation, confirmed when it was found twice or at once for sure.
type suspect struct {
	Deviation
	confirmed bool
	// unit is the name of the unit that found it; empty for a round.
	unit string
}

// unit is a piece of work that reads all rows of a file.
type unit struct {
	name  string
	every time.Duration
	next  time.Time
	run   func(ctx context.Context) error
}

// Report is what the standing audit has found so far.
type Report struct {
	// OK is true while nothing deviates and no file is damaged.
	OK bool `json:"ok"`
	// At is when the last round ended, TookMicros how long it took, Orders how
	// many it looked at, and Checks how many checks run.
	At         api.Time `json:"at"`
	TookMicros int64    `json:"took_us"`
	Orders     int      `json:"orders"`
	Checks     int      `json:"checks"`
	Rounds     int64    `json:"rounds"`
	// Deviations counts what deviates now, ByCheck by check.
	Deviations int            `json:"deviations"`
	ByCheck    map[string]int `json:"by_check"`
	// Moving counts orders of the last round that were on their way.
	Moving int `json:"moving"`
	// Behind counts events whose orders have not been looked at yet.
	Behind int64 `json:"behind"`
	// PassedAt is when the last order of the past had been looked at, after
	// which it begins with the first again.
	PassedAt api.Time `json:"passed_at"`
	// LeftOut are checks that need files of other processes.
	LeftOut []string `json:"left_out"`
	Damaged []Damage `json:"damaged"`
	// Error says why the last piece of work failed; empty when it did not.
	Error string `json:"error,omitempty"`
}

// NewStanding makes a standing audit; Run runs it.
func NewStanding(cfg StandingConfig) *Standing {
	s := &Standing{cfg: cfg, suspects: map[string]*suspect{}, news: -1,
		size:   4 * leastOrders,
		failed: map[string]string{},
		books: books{files: maps.Clone(cfg.Files), sandbox: cfg.Sandbox, bound: cfg.Bound,
			reading: func(string) {}},
		report: Report{OK: true, ByCheck: map[string]int{}, LeftOut: []string{},
			Damaged: []Damage{}}}
	if s.books.bound == 0 {
		s.books.bound = Bound
	}
	if s.cfg.Every == 0 {
		s.cfg.Every = roundEvery
	}
	if s.cfg.Rest == 0 {
		s.cfg.Rest = rest
	}
	if s.cfg.Whole == 0 {
		s.cfg.Whole = wholeEvery
	}
	s.plan()
	return s
}

// plan makes the units of what can be checked. Those that were there before keep
// their time.
func (s *Standing) plan() {
	due := map[string]time.Time{}
	for _, u := range s.units {
		due[u.name] = u.next
	}
	add := func(name string, every time.Duration, run func(context.Context) error) {
		s.units = append(s.units, &unit{name: name, every: every, next: due[name], run: run})
	}
	rules := s.books.rules()
	s.units, s.report.LeftOut = nil, []string{}
	s.report.Checks = 3 // pages, channels, undelivered
	for i := range rules {
		c := &rules[i]
		if !c.readable(s.books.files) {
			s.report.LeftOut = append(s.report.LeftOut, c.name)
			continue
		}
		s.report.Checks++
		if c.whole() {
			add(c.name, s.cfg.Whole, func(ctx context.Context) error { return s.wholly(ctx, c) })
		}
	}
	for actor := range parts {
		if actor != "order" && s.books.files[actor] != "" && s.books.files["order"] != "" {
			add("strays of "+actor, s.cfg.Whole, func(ctx context.Context) error {
				return s.strays(ctx, actor)
			})
		}
	}
	for actor, path := range s.books.files {
		name := "pages of " + actor
		if _, known := due[name]; !known {
			due[name] = time.Now().Add(pagesEvery) // the actor has read them when it started
		}
		add(name, pagesEvery, func(ctx context.Context) error { return s.pages(ctx, actor, path) })
	}
}

// Report tells what was found so far.
func (s *Standing) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.report
	r.ByCheck = maps.Clone(r.ByCheck)
	return r
}

// Found are the deviations there are now, a thousand at most, in the order of
// their checks.
func (s *Standing) Found() []Deviation {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Deviation{}
	for _, key := range slices.Sorted(maps.Keys(s.suspects)) {
		if u := s.suspects[key]; u.confirmed {
			found = append(found, u.Deviation)
		}
	}
	return found
}

// Run audits until the context ends.
func (s *Standing) Run(ctx context.Context) {
	defer func() { s.closeLook() }()
	for ctx.Err() == nil {
		if work := s.next(time.Now()); work != nil {
			s.do(ctx, work)
			continue
		}
		t := time.NewTimer(time.Until(s.due()))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// work is what is done at once, and when its kind may be done again.
type work struct {
	name string
	run  func(context.Context) error
	next *time.Time
}

// soonest is the unit that is due first.
func (s *Standing) soonest() *unit {
	return slices.MinFunc(s.units, func(a, b *unit) int { return a.next.Compare(b.next) })
}

// next is the work that is due; nil for none. Rounds and units have a half each
// of the time that there is for work, so that long units keep no round waiting.
func (s *Standing) next(now time.Time) *work {
	if !s.roundAt.After(now) {
		s.roundAt = now.Add(s.cfg.Every)
		return &work{"round", s.round, &s.roundAt}
	}
	u := s.soonest()
	if s.unitAt.After(now) || u.next.After(now) {
		return nil
	}
	u.next = now.Add(u.every)
	return &work{u.name, u.run, &s.unitAt}
}

// due is when there is work again.
func (s *Standing) due() time.Time {
	unit := s.soonest().next
	if unit.Before(s.unitAt) {
		unit = s.unitAt
	}
	if s.roundAt.Before(unit) {
		return s.roundAt
	}
	return unit
}

// do does a piece of work in limited time, and has its kind rest.
func (s *Standing) do(ctx context.Context, w *work) {
	limited, cancel := context.WithTimeout(ctx, workLimit)
	defer cancel()
	began := time.Now()
	err := w.run(limited)
	took, name := time.Since(began), w.name
	if again := began.Add(time.Duration(2*s.cfg.Rest+2) * took); again.After(*w.next) {
		*w.next = again
	}
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		delete(s.failed, name)
	} else {
		s.closeLook() // its connection may be in any state
		if s.failed[name] != err.Error() {
			s.cfg.Log.Warn("audit", "work", name, "err", err)
		}
		s.failed[name] = err.Error()
	}
	if now := time.Now(); isDamage(err) && now.After(s.pagesAt) {
		s.pagesAt = now.Add(pagesAgain)
		for _, u := range s.units {
			if u.every == pagesEvery {
				u.next = time.Time{}
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Error = ""
	for name, text := range s.failed {
		s.report.Error = name + ": " + text
	}
}

func (s *Standing) closeLook() {
	if s.look == nil {
		return
	}
	if err := s.look.close(); err != nil {
		s.cfg.Log.Warn("audit not closed", "err", err)
	}
	s.look = nil
}

// pages reads all pages of a file. One that can't be read is left out from then
// on; the others are audited all the same.
func (s *Standing) pages(ctx context.Context, actor, path string) error {
	problem, err := pageProblem(ctx, path, "_actor")
	if err != nil || problem == "" {
		return err
	}
	s.cfg.Log.Error("a file is damaged", "actor", actor, "problem", problem)
	s.mu.Lock()
	s.report.Damaged = append(s.report.Damaged, Damage{actor + ".db", problem})
	s.report.OK = false
	delete(s.books.files, actor)
	s.closeLook()
	s.plan()
	s.mu.Unlock()
	if s.cfg.Damaged != nil {
		s.cfg.Damaged(actor, problem)
	}
	return nil
}

// wholly runs a check that reads all rows.
func (s *Standing) wholly(ctx context.Context, c *check) error {
	found, err := s.books.wholly(ctx, c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(found, exact(c.name), c.name, func(d *suspect) bool { return d.unit == c.name })
	return nil
}

// note keeps what was found and drops what was looked at and is not there any
// more. A deviation is confirmed when it is found twice, or at once when one
// look is sure.
func (s *Standing) note(found []Deviation, sure bool, unit string, looked func(*suspect) bool) {
	there := map[string]bool{}
	for _, d := range found {
		there[d.key()] = true
		s.suspect(d, sure, unit)
	}
	for key, d := range s.suspects {
		if there[key] || !looked(d) {
			continue
		}
		if d.confirmed {
			s.cfg.Log.Info("deviation gone", "check", d.Check, "order", d.Order, "row", d.Row)
		}
		delete(s.suspects, key)
	}
	s.count()
}

// suspect keeps one that was found, unless there are too many, and logs it when
// it is confirmed by that.
func (s *Standing) suspect(d Deviation, sure bool, unit string) {
	old := s.suspects[d.key()]
	if old == nil && len(s.suspects) >= maxFound {
		return
	}
	now := &suspect{d, sure || old != nil, unit}
	if now.confirmed && (old == nil || !old.confirmed) {
		s.cfg.Log.Error("deviation", "check", d.Check, "order", d.Order, "row", d.Row,
			"problem", d.Problem)
	}
	s.suspects[d.key()] = now
}

// count sums up what is confirmed.
func (s *Standing) count() {
	r := &s.report
	r.Deviations, r.ByCheck = 0, map[string]int{}
	for _, d := range s.suspects {
		if d.confirmed {
			r.Deviations++
			r.ByCheck[d.Check]++
		}
	}
	r.OK = r.Deviations == 0 && len(r.Damaged) == 0
}
