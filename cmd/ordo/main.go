// Command ordo is a shop's order backend in one binary: it serves the shop,
// runs real orders through it, measures it and audits its books. This package
// decides what the command line looks like and wires the parts; the rules of
// the shop stand in the actors.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"ordo/actors/audit"
	"ordo/actors/history"
)

// Exit codes of the command.
const (
	exitOK     = 0
	exitFailed = 1 // it did not work, or an audit found something
	exitUsage  = 2 // the command line, the configuration or an input file is wrong or missing
	exitKilled = 130
)

// errFound ends a command that did its work and found something wrong, which
// it has already printed.
var errFound = errors.New("deviations found")

// errUnreadable ends a command that can't tell, because what it was given can't
// be read.
var errUnreadable = errors.New("unreadable")

// cli is the whole command line. A flag is taken from the command line, else
// from the environment (ORDO_ and its name), else from the file of --config,
// else it has its default.
type cli struct {
	Config    kong.ConfigFlag `help:"YAML file with flags as keys." placeholder:"FILE"`
	LogLevel  string          `help:"Least level to log." enum:"debug,info,warn,error" default:"info"`
	LogFormat string          `help:"Log as text or JSON." enum:"auto,text,json" default:"auto"`
	Print     versionFlag     `name:"version" env:"-" help:"Print the version."`

	Serve     ServeCmd     `cmd:"" help:"Run the shop, or some of its actors."`
	Setup     SetupCmd     `cmd:"" help:"Make the streams and buckets of a shop."`
	Demo      DemoCmd      `cmd:"" help:"Run a shop with sample data on temporary files."`
	Replay    ReplayCmd    `cmd:"" help:"Run a trace of real orders through a shop."`
	Bench     BenchCmd     `cmd:"" help:"Measure orders per second over HTTP."`
	Audit     AuditCmd     `cmd:"" help:"Check that stock, money, coupons and orders add up."`
	Dead      DeadCmd      `cmd:"" help:"Look after messages that could not be handled."`
	Webhook   WebhookCmd   `cmd:"" help:"Look after endpoints that get the shop's events."`
	Tx        TxCmd        `cmd:"" help:"Show what became of orders."`
	Coupon    CouponCmd    `cmd:"" help:"Give coupons to users of a running shop, and list them."`
	Goods     GoodsCmd     `cmd:"" help:"Look after catalogue and stock of a running shop."`
	Verify    VerifyCmd    `cmd:"" help:"Rebuild actors' files from their streams and compare."`
	At        AtCmd        `cmd:"" help:"Make a file of an actor as it was."`
	Backup    BackupCmd    `cmd:"" help:"Copy the files of all actors, also of a running shop."`
	Restore   RestoreCmd   `cmd:"" help:"Put the files of a backup into a data directory."`
	Repair    RepairCmd    `cmd:"" help:"Settle files that were restored to different moments."`
	Sandbox   SandboxCmd   `cmd:"" help:"Run a payment gateway to try a shop with, alone."`
	Reconcile ReconcileCmd `cmd:"" help:"Compare the pay log with a gateway's statement."`
	Version   VersionCmd   `cmd:"" help:"Print the version."`

	Settings    ConfigCmd      `cmd:"" name:"config" help:"Look at the configuration of serve."`
	Doctor      DoctorCmd      `cmd:"" help:"Look for what is wrong with machine, NATS, files and settings."`
	NATSContext NATSContextCmd `cmd:"" name:"nats-context" help:"Write a context that the nats CLI finds a shop by."`
	AsyncAPI    AsyncAPICmd    `cmd:"" name:"asyncapi" help:"Print an AsyncAPI document of the shop's messages."`
	Completion  CompletionCmd  `cmd:"" help:"Print a script that has a shell complete commands and flags."`
	Complete    CompleteCmd    `cmd:"" name:"__complete" hidden:""`
}

// terminal is where a command writes and logs.
type terminal struct {
	Out io.Writer
	Err io.Writer
	Log *slog.Logger
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run parses the arguments, runs one command and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := newParser(&c, stdout, stderr, func(code int) { exit = code })
	if err != nil {
		fmt.Fprintln(stderr, "ordo:", err)
		return exitUsage
	}
	parsed, err := parser.Parse(negativesLast(args))
	if err == nil {
		err = checkEnvironment(parser.Model, os.Environ())
	}
	switch {
	case exit >= 0: // --help has printed its text
		return exit
	case err != nil:
		fmt.Fprintln(stderr, "ordo:", err)
		return exitUsage
	}
	ctx, stop := signalContext()
	defer stop()
	t := &terminal{Out: stdout, Err: stderr, Log: newLog(&c, stderr)}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(t)
	code := exitCode(err, ctx.Err() != nil)
	said := errors.Is(err, errFound) || code == exitKilled && !errors.Is(err, errUndecided)
	if code != exitOK && !said {
		fmt.Fprintln(stderr, "ordo:", err)
	}
	return code
}

// exitCode is that of a command which has answered err, after a signal or
// without.
func exitCode(err error, stopped bool) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	case errors.Is(err, context.Canceled) && stopped:
		return exitKilled
	}
	for _, wrong := range []error{errUnreadable, fs.ErrNotExist, audit.ErrNoFiles,
		history.ErrNoFiles} {
		if errors.Is(err, wrong) {
			return exitUsage
		}
	}
	return exitFailed
}

func newParser(c *cli, stdout, stderr io.Writer, exit func(int)) (*kong.Kong, error) {
	return kong.New(c, kong.Name("ordo"),
		kong.Description("An order backend for web shops, in one binary."),
		kong.DefaultEnvars(envPrefix), kong.Configuration(loadYAML),
		kong.Writers(stdout, stderr), kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
}

// signalContext ends with the first SIGTERM or interrupt. A second one ends
// the process at once.
func signalContext() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		cancel()
		<-signals
		os.Exit(exitKilled)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// newLog is coloured text on a terminal and JSON elsewhere, always on stderr.
func newLog(c *cli, stderr io.Writer) *slog.Logger {
	level := new(slog.LevelVar)
	// The flag's enum has checked the word.
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level.Set(slog.LevelInfo)
	}
	tty := isTerminal(stderr)
	if c.LogFormat == "text" || c.LogFormat == "auto" && tty {
		return slog.New(tint.NewTextHandler(stderr, &tint.Options{
			Level: level, TimeFormat: time.TimeOnly, NoColor: !tty}))
	}
	return slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: level}))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
