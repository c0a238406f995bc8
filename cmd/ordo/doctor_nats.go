package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"ordo/bus"
)

// minNATS is the first NATS server that has all that the table of streams asks
// for.
const minNATS = "2.11.0"

// nats looks at the NATS at a URL; there may be none to look at.
func (d *doctor) nats(ctx context.Context, url string) {
	if url == "" {
		d.ok("nats.server",
			"none to look at: no shop with a listener runs on the data directory, and "+
				"--nats is not said")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.wait)
	defer cancel()
	nc, err := nats.Connect(url, bus.Inbox(url), nats.Name("ordo-doctor"), nats.Timeout(d.wait/2),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // calls answer them
	if err != nil {
		d.fail("nats.server", "start it, or look at URL, user and firewall", "%s: %v",
			withoutPasswords(url), err)
		return
	}
	defer nc.Close()
	d.judgeNATS(nc.ConnectedServerName(), nc.ConnectedServerVersion(), ownNATS())
	d.judgePayload(nc.MaxPayload())
	js, err := jetstream.New(nc)
	if err != nil {
		d.fail("nats.jetstream", "look at the server's log", "%v", err)
		return
	}
	if d.jetStream(ctx, js) {
		d.table(ctx, js)
		d.natsClock(ctx, js)
	}
	d.syncInterval(nc)
}

// judgeNATS compares the server's version with what is needed, and with the one
// in this binary.
func (d *doctor) judgeNATS(name, version, own string) {
	const do = "update nats-server"
	switch {
	case olderVersion(version, minNATS):
		d.fail("nats.server", do, "%s is older than %s", version, minNATS)
	case olderVersion(version, own):
		d.warn("nats.server", do+" when it suits", "%s; this release is tested with %s", version,
			own)
	default:
		d.ok("nats.server", "%s, %s", name, version)
	}
}

// ownNATS is the version of the NATS server in this binary.
func ownNATS() string {
	v, err := readVersions(context.Background())
	if err != nil {
		return ""
	}
	return v.NATSServer
}

func (d *doctor) judgePayload(most int64) {
	if most < bus.MaxPayload {
		d.fail("nats.max-payload", "set max_payload: 8MB",
			"%d bytes are less than %d, which answers of "+
				"queries may take", most, bus.MaxPayload)
		return
	}
	d.ok("nats.max-payload", "%d bytes", most)
}

// jetStream looks at JetStream and the limits of the account, and tells whether
// it can be asked more.
func (d *doctor) jetStream(ctx context.Context, js jetstream.JetStream) bool {
	ask, cancel := context.WithTimeout(ctx, d.wait/4)
	defer cancel()
	info, err := js.AccountInfo(ask)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err,
			nats.ErrNoResponders):
		d.fail("nats.jetstream",
			"switch it on: `jetstream { … }` in the server's configuration and "+
				"`jetstream: enabled` in the account", "%v", err)
		return false
	case err != nil:
		d.warn("nats.jetstream", "ask as the user setup, who may",
			"the account can't be asked for: %v",
			err)
		return true
	}
	d.judgeAccount(info)
	return true
}

// needs is how much the table of streams and buckets may take on disk.
func needs() (streams int, bytes int64) {
	for _, s := range bus.Streams() {
		streams, bytes = streams+1, bytes+s.MaxBytes
	}
	for _, b := range bus.Buckets() {
		streams, bytes = streams+1, bytes+b.MaxBytes
	}
	return streams, bytes
}

func (d *doctor) judgeAccount(info *jetstream.AccountInfo) {
	streams, bytes := needs()
	l := info.Limits
	switch {
	case l.MaxStore > 0 && l.MaxStore < bytes:
		d.fail("nats.account", "raise max_file of the account",
			"it may keep %d MiB, and streams and "+
				"buckets reserve %d MiB", l.MaxStore>>20, bytes>>20)
	case l.MaxStreams > 0 && l.MaxStreams < streams:
		d.fail("nats.account", "raise max_streams of the account",
			"it may have %d streams, and %d are "+
				"needed", l.MaxStreams, streams)
	default:
		d.ok("nats.account", "JetStream is on; %d streams, %d MiB are used", info.Streams,
			info.Store>>20)
	}
}

// table looks at all streams and buckets.
func (d *doctor) table(ctx context.Context, js jetstream.JetStream) {
	err := bus.Check(ctx, js)
	if err == nil {
		streams, _ := needs()
		d.ok("nats.table", "all %d streams and buckets are there, and of this version", streams)
		return
	}
	if ctx.Err() != nil {
		d.warn("nats.table", "ask as the user setup, who may see all of it",
			"no answer in %s: this "+
				"user may not look, or the server is too busy", d.wait)
		return
	}
	for text := range strings.Lines(err.Error()) {
		d.fail("nats.table", "run `ordo setup`", "%s", strings.TrimSpace(text))
	}
}

// Differences of clocks.
const (
	clockApart = time.Second
	// clockStops is what an actor stops at: a message that is so far ahead.
	clockStops = 5 * time.Minute
)

// natsClock compares the server's clock with this machine's.
func (d *doctor) natsClock(ctx context.Context, js jetstream.JetStream) {
	s, err := js.Stream(ctx, bus.MailboxStream("order"))
	if err != nil {
		return // the table has told
	}
	before := time.Now()
	info, err := s.Info(ctx)
	if err != nil {
		d.warn("nats.clock", "ask as the user setup, who may", "%v", err)
		return
	}
	took := time.Since(before)
	d.judgeNATSClock(info.TimeStamp.Sub(before.Add(took/2)), took)
}

// judgeNATSClock judges how far ahead the server's clock is, known to half of the
// time that asking took.
func (d *doctor) judgeNATSClock(ahead, took time.Duration) {
	apart := max(ahead.Abs()-took/2, 0)
	const do = "have both machines keep time by NTP"
	switch shown := ahead.Round(time.Millisecond); {
	case apart >= clockStops:
		d.fail("nats.clock", do+"; actors stop at messages so far ahead",
			"%s ahead of this machine",
			shown)
	case apart >= clockApart:
		d.warn("nats.clock", do, "%s ahead of this machine", shown)
	default:
		d.ok("nats.clock", "%s ahead of this machine, asked in %s", shown,
			took.Round(time.Millisecond))
	}
}

// syncInterval looks at how late streams reach the disk, where the user may see
// it, which is one of the system account.
func (d *doctor) syncInterval(nc *nats.Conn) {
	m, err := nc.Request("$SYS.REQ.SERVER.PING.JSZ", nil, d.wait/10)
	if err != nil {
		return
	}
	var answer struct {
		Data struct {
			Config *struct {
				SyncInterval time.Duration `json:"sync_interval"`
				SyncAlways   bool          `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	if json.Unmarshal(m.Data, &answer) != nil || answer.Data.Config == nil {
		return
	}
	d.judgeInterval(answer.Data.Config.SyncInterval, answer.Data.Config.SyncAlways)
}

func (d *doctor) judgeInterval(every time.Duration, always bool) {
	switch {
	case always:
		d.warn("nats.sync-interval", "set sync_interval: \"1s\"; nothing that counts is lost by it",
			"always, which is slow")
	case every > 10*time.Second:
		d.warn("nats.sync-interval", "set sync_interval: \"1s\": carts and logins live there alone",
			"%s", every)
	default:
		d.ok("nats.sync-interval", "%s", every)
	}
}
