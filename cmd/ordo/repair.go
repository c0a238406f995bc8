package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ordo/actors"
	"ordo/api"
	"ordo/bus"
	"ordo/stores"
)

// RepairCmd settles what files that were restored to different moments say of
// one another: it has restored files handle what their mailboxes still hold,
// has channels go on whose ends do not meet, and sends the order actor what it
// needs to settle orders with. Without --apply it does all that to copies, and
// tells. Row P9.
type RepairCmd struct {
	Data  []string `help:"Data directory; several when actors have their own." required:"" type:"path"`
	NATS  string   `name:"nats" help:"NATS that has the streams; else that of the first directory." placeholder:"URL"`
	Apply bool     `help:"Do it. The actors must not be running."`
	JSON  bool     `name:"json" help:"Print the result as JSON."`
}

// Validate refuses what is not a URL.
func (c *RepairCmd) Validate() error {
	if c.NATS == "" {
		return nil
	}
	_, err := natsServers(c.NATS)
	return err
}

// repaired is what a repair does, or would do.
type repaired struct {
	Applied bool `json:"applied"`
	// CaughtUp counts by actor the messages that its mailbox still held.
	CaughtUp map[string]int64 `json:"caught_up"`
	// Behind are restored actors whose streams do not go on from their place.
	Behind []string     `json:"behind"`
	Fixes  []actors.Fix `json:"fixes"`
	Orders []*unsettled `json:"orders"`
	// Epochs are the actors that begin a new epoch.
	Epochs []string `json:"epochs"`
}

// Run implements the command.
func (c *RepairCmd) Run(ctx context.Context, t *terminal) (err error) {
	if c.Apply {
		if err := finishSwaps(t.Log, c.Data...); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	files, err := findFiles(c.Data, nil)
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	r := &repair{result: repaired{Applied: c.Apply, CaughtUp: map[string]int64{},
		Behind: []string{}, Fixes: []actors.Fix{}, Orders: []*unsettled{}, Epochs: []string{}},
		files: files, engines: map[string]*actors.Engine{}, channels: map[string]*actors.Channels{}}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.reach(ctx, c, t); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	running := false
	if !c.Apply {
		if running, err = anyRuns(files); err == nil {
			err = r.copy(ctx)
		}
		if err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if err := r.result.tell(t.Out, c.JSON); err != nil || !r.result.open() {
		return err
	}
	if running { // files are read one after the other
		t.Log.Warn("an actor is running: what was found may be messages on their way; stop " +
			"the shop to be sure")
		return nil
	}
	return errFound
}

// tell prints it for people, or as JSON.
func (p *repaired) tell(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(p)
	}
	return p.print(w)
}

// anyRuns tells whether an actor has one of the files open.
func anyRuns(files map[string]string) (bool, error) {
	for _, file := range files {
		lock, err := stores.Lock(file + ".lock")
		if errors.Is(err, stores.ErrLocked) {
			return true, nil
		}
		if err == nil {
			err = lock.Close()
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// repair is one run over files, or copies of them.
type repair struct {
	result  repaired
	files   map[string]string
	temp    string   // of copies
	streams *streams // nil for none
	engines map[string]*actors.Engine
	// channels are what the files say now.
	channels map[string]*actors.Channels
}

// reach opens the streams. For a look, a directory need not have any; to settle
// orders they are made.
func (r *repair) reach(ctx context.Context, c *RepairCmd, t *terminal) (err error) {
	if c.NATS == "" {
		dir := filepath.Join(c.Data[0], "nats")
		_, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && !c.Apply:
			return nil
		case errors.Is(err, fs.ErrNotExist):
			err = os.Mkdir(dir, 0o700)
		}
		if err != nil {
			return err
		}
	}
	if r.streams, err = openStreams(ctx, c.Data[0], c.NATS, t.Log); err != nil || !c.Apply {
		return err
	}
	return setupStreams(ctx, r.streams.js, t.Log)
}

// copy has the repair work on copies.
func (r *repair) copy(ctx context.Context) (err error) {
	if r.temp, err = os.MkdirTemp("", "ordo-repair-"); err != nil {
		return err
	}
	for actor, file := range r.files {
		to := filepath.Join(r.temp, actor+".db")
		if err := stores.Snapshot(ctx, file, to, 0); err != nil {
			return err
		}
		r.files[actor] = to
	}
	return nil
}

func (r *repair) close() error {
	var errs []error
	for _, e := range r.engines {
		errs = append(errs, e.Close())
	}
	if r.streams != nil {
		errs = append(errs, r.streams.close())
	}
	if r.temp != "" {
		errs = append(errs, os.RemoveAll(r.temp))
	}
	return errors.Join(errs...)
}

func (r *repair) run(ctx context.Context) error {
	for actor, file := range r.files {
		e, err := actors.OpenEngine(ctx, specOf(actor), file)
		if errors.Is(err, stores.ErrLocked) {
			return fmt.Errorf("the actor is running, stop it first: %w", err)
		}
		if err != nil {
			return err
		}
		r.engines[actor] = e
	}
	if err := r.catchUp(ctx); err != nil {
		return err
	}
	if err := r.fix(); err != nil {
		return err
	}
	return r.settle(ctx)
}

// look reads what the files say of their channels, and compares.
func (r *repair) look() error {
	all := make([]*actors.Channels, 0, len(r.engines))
	for _, actor := range bus.ActorNames() {
		e := r.engines[actor]
		if e == nil {
			continue
		}
		c, err := e.Channels()
		if err != nil {
			return err
		}
		r.channels[actor] = c
		all = append(all, c)
	}
	r.result.Fixes = append([]actors.Fix{}, actors.Fixes(all)...)
	return nil
}

// concerned are the actors that a repair writes to: restored ones, and both ends
// of channels that do not go on.
func (r *repair) concerned() (some []string) {
	for _, actor := range bus.ActorNames() {
		c := r.channels[actor]
		if c != nil && (c.Restored || slices.ContainsFunc(r.result.Fixes, func(f actors.Fix) bool {
			return f.Actor == actor || f.Other == actor
		})) {
			some = append(some, actor)
		}
	}
	return some
}

// catchUp has the actors concerned handle what their mailboxes hold, which may
// concern others.
func (r *repair) catchUp(ctx context.Context) error {
	done := map[string]bool{}
	for {
		if err := r.look(); err != nil {
			return err
		}
		next := slices.DeleteFunc(r.concerned(), func(a string) bool { return done[a] })
		if len(next) == 0 {
			return nil
		}
		for _, actor := range next {
			done[actor] = true
			if r.streams == nil {
				continue
			}
			n, held, err := r.engines[actor].CatchUp(ctx, bus.OpenHistory(r.streams.js, actor))
			if err != nil {
				return fmt.Errorf("%s: %w", actor, err)
			}
			if n > 0 {
				r.result.CaughtUp[actor] = n
			}
			if !held && r.engines[actor].Anchor().Seq > 0 {
				r.result.Behind = append(r.result.Behind, actor)
			}
		}
	}
}

// fix has the channels go on, under new epochs.
func (r *repair) fix() error {
	r.result.Epochs = append(r.result.Epochs, r.concerned()...)
	for _, actor := range r.result.Epochs {
		told := ""
		if n := r.result.CaughtUp[actor]; n > 0 {
			told = fmt.Sprintf("handled %d messages that the mailbox still had", n)
		}
		if err := r.engines[actor].Repair(r.result.Fixes, told); err != nil {
			return err
		}
	}
	return nil
}

// settle sends the order actor the orders that messages can settle.
func (r *repair) settle(ctx context.Context) (err error) {
	older := slices.ContainsFunc(r.result.Fixes, func(f actors.Fix) bool {
		return f.Actor == "order" && f.Kind == actors.FixSkip
	})
	orders, err := findUnsettled(ctx, r.files, older)
	if err != nil {
		return err
	}
	r.result.Orders = append(r.result.Orders, orders...)
	run, n := rand.Text()[:8], 0
	for _, u := range orders {
		if u.Cannot != "" {
			continue
		}
		n++
		if r.result.Applied {
			if err := r.send(ctx, "settle-"+u.Order+"-"+run, u.message()); err != nil {
				return err
			}
		}
	}
	if n == 0 || !r.result.Applied {
		return nil
	}
	return r.engines["order"].Repair(nil, fmt.Sprintf("had %d orders settled, run %s", n, run))
}

// send puts a message into a mailbox, to be handled at the next start.
func (r *repair) send(ctx context.Context, id string, m api.Message) error {
	route := m.Route()
	f, err := bus.Publish(r.streams.js, bus.MailboxSubject(route.Actor, route.Verb), id, nil,
		api.Raw(m))
	if err != nil {
		return err
	}
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return fmt.Errorf("%s: %w", id, err)
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(natsWait):
		return fmt.Errorf("%s: NATS does not answer", id)
	}
}

// open tells whether something is left to do.
func (p *repaired) open() bool {
	todo := len(p.Fixes)+len(p.Epochs)+len(p.Orders) > 0
	cannot := slices.ContainsFunc(p.Orders, func(u *unsettled) bool { return u.Cannot != "" })
	return cannot || todo && !p.Applied
}

func (p *repaired) print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	for _, actor := range bus.ActorNames() {
		if n := p.CaughtUp[actor]; n > 0 {
			say("catch up: %s handles %d messages that its mailbox still has\n", actor, n)
		}
	}
	for _, actor := range p.Behind {
		say("behind: the stream of %s does not go on from where its file is\n", actor)
	}
	for i := range p.Fixes {
		say("channel: %s\n", &p.Fixes[i])
	}
	for _, actor := range p.Epochs {
		say("epoch: %s begins a new one, as its file did not simply go on\n", actor)
	}
	settled, cannot := p.printOrders(say)
	if len(p.Orders) >= maxSettled {
		say("there may be more orders: run it again after a start\n")
	}
	say("%s\n", p.verdict(settled, cannot))
	return errors.Join(errs...)
}

// printOrders says what becomes of orders, and counts those that can be settled
// and those that can't be.
func (p *repaired) printOrders(say func(format string, args ...any)) (settled, cannot int) {
	for _, u := range p.Orders {
		switch {
		case u.Cannot != "":
			continue
		case u.Remade != "":
			say("make again: %s (%s), from the journal\n", u.Order, u.Remade)
		default:
			say("settle: %s\n", u)
		}
		settled++
	}
	for _, u := range p.Orders {
		if u.Cannot != "" {
			cannot++
			say("CANNOT: %s: %s\n", u, u.Cannot)
		}
	}
	return settled, cannot
}

func (p *repaired) verdict(settled, cannot int) string {
	what := fmt.Sprintf("%d actors caught up, %d channels, %d orders to be settled, %d that "+
		"can't be",
		len(p.CaughtUp), len(p.Fixes), settled, cannot)
	switch {
	case !p.Applied && p.open():
		return "would repair: " + what + "; do it with --apply"
	case p.Applied && len(p.Epochs)+settled > 0:
		return "repaired: " + what + "; orders are settled at the next start"
	}
	return "nothing to repair; " + what
}
