package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// DoctorCmd looks at what a shop needs of its machine, its NATS, its files and
// its configuration, and says for each finding what to do. It changes nothing,
// and may run beside a running shop. It exits with 1 when something fails.
type DoctorCmd struct {
	Data   string `help:"Data directory." default:"ordo-data" type:"path"`
	NATS   string `name:"nats" help:"NATS to look at; else that of the shop that runs on the data directory." placeholder:"URL"`
	Server string `help:"URL of a running shop to look at." placeholder:"URL"`
	Deep   bool   `help:"Check all pages of the actors' files, which reads them whole."`
	JSON   bool   `name:"json" help:"Print the findings as JSON."`

	// Of the configuration, as serve takes it from the environment and the file.
	AdminToken string `help:"Admin token that serve is given." placeholder:"TOKEN"`
	PublicURL  string `help:"Public URL that serve is given." placeholder:"URL"`
	TLSCert    string `help:"Certificate that serve is given." placeholder:"FILE"`
	Sandbox    bool   `help:"Serve is given this."`
	Production bool   `help:"Serve is given this."`
}

// Validate refuses what is not a URL.
func (c *DoctorCmd) Validate() error {
	if c.NATS != "" {
		if _, err := natsServers(c.NATS); err != nil {
			return err
		}
	}
	if c.Server != "" && !strings.HasPrefix(c.Server, "http://") &&
		!strings.HasPrefix(c.Server, "https://") {
		return fmt.Errorf("--server must begin with http:// or https://, not %q", c.Server)
	}
	return nil
}

// Levels of findings.
const (
	levelOK   = "OK"
	levelWarn = "WARN"
	levelFail = "FAIL"
)

// finding is what was found of one thing.
type finding struct {
	Level string `json:"level"`
	// Check names what was looked at, as part.thing.
	Check string `json:"check"`
	Found string `json:"found"`
	// Do says what to do; empty when nothing is.
	Do string `json:"do,omitempty"`
}

// doctor gathers findings.
type doctor struct {
	cmd *DoctorCmd
	// proc and cgroup are where the kernel tells of itself and of this group.
	proc, cgroup string
	// wait bounds the time for each part that is asked over a network.
	wait time.Duration
	all  []finding
}

func newDoctor(c *DoctorCmd) *doctor {
	return &doctor{cmd: c, proc: "/proc", cgroup: "/sys/fs/cgroup", wait: 10 * time.Second}
}

func (d *doctor) ok(check, format string, args ...any) { d.add(levelOK, check, "", format, args) }

// warn says what to do when what was found may be wrong, or soon will be.
func (d *doctor) warn(check, do, format string, args ...any) {
	d.add(levelWarn, check, do, format, args)
}

// fail says what to do when a shop can't run well like that.
func (d *doctor) fail(check, do, format string, args ...any) {
	d.add(levelFail, check, do, format, args)
}

func (d *doctor) add(level, check, do, format string, args []any) {
	d.all = append(d.all, finding{level, check, fmt.Sprintf(format, args...), do})
}

// Run implements the command.
func (c *DoctorCmd) Run(ctx context.Context, t *terminal) error {
	d := newDoctor(c)
	d.versions(ctx)
	d.clock()
	d.limits()
	d.configuration(time.Now())
	nats := d.data(ctx)
	d.nats(ctx, or(c.NATS, nats))
	d.server(ctx, time.Now())
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.print(t.Out); err != nil {
		return err
	}
	if d.count(levelFail) > 0 {
		return errFound
	}
	return nil
}

func (d *doctor) count(level string) (n int) {
	for i := range d.all {
		if d.all[i].Level == level {
			n++
		}
	}
	return n
}

func (d *doctor) print(w io.Writer) error {
	if d.cmd.JSON {
		return json.NewEncoder(w).Encode(struct {
			OK       bool      `json:"ok"`
			Findings []finding `json:"findings"`
		}{d.count(levelFail) == 0, d.all})
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range d.all {
		text := f.Found
		if f.Do != "" {
			text += "; " + f.Do
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Level, f.Check, text) // table keeps its error
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d checks, %d warnings, %d failures\n", len(d.all),
		d.count(levelWarn),
		d.count(levelFail))
	return err
}
