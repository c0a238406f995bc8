package actors

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"ordo/api"
	"ordo/bus"
)

// Journal is the actor whose mailbox is the stream of events.
const Journal = "journal"

// How long things take and are kept.
const (
	// EdgeMemory is how long messages from edges are remembered, in stream
	// time. Older ones are skipped.
	EdgeMemory = 48 * time.Hour
	// EffectMemory is how long an effect that is done is remembered, in stream
	// time. A worker may report it for as long as its stream keeps the work, 2 h,
	// and a report may be repeated for as long as EdgeMemory; the rest is margin.
	EffectMemory = EdgeMemory + 24*time.Hour
	// maxID is the longest message id, in bytes; ids become parts of subjects.
	maxID = 512
	// maxTries is how often a message that faults is tried on its own.
	maxTries = 5
)

// Delivery is one message as it came out of the stream.
type Delivery struct {
	// Subject it was published on.
	Subject string
	// ID is the message's identity: <sender>.<shard>.<epoch>.<receiver>.<shard>.<number>
	// between actors, anything without a dot from an edge.
	ID string
	// After is, in the first messages of a new epoch, the last number of the
	// epoch before.
	After int64
	// Seq and At are the stream's sequence number and time.
	Seq  uint64
	At   api.Time
	Body []byte
	// Answer is true for what JetStream put into the stream by itself, in answer to
	// a request whose reply subject was one of the stream's. It is nobody's message.
	Answer bool
	// Trace is the header of that name; handlers do not see it.
	Trace string
}

// verb is the last word of a mailbox subject; "event" for all events.
func (d *Delivery) verb() string {
	if strings.HasPrefix(d.Subject, bus.EventPrefix) {
		return "event"
	}
	return d.Subject[strings.LastIndexByte(d.Subject, '.')+1:]
}

// channelID is the identity of a message between actors.
type channelID struct {
	// sender and receiver are <actor>.<shard>.
	sender, epoch, receiver string
	number                  int64
}

// parseChannelID reads an identity; ok is false for an edge's.
func parseChannelID(id string) (c channelID, ok bool) {
	if strings.Count(id, ".") != 5 {
		return c, false
	}
	p := strings.Split(id, ".")
	n, err := strconv.ParseInt(p[5], 10, 64)
	if err != nil || n <= 0 {
		return c, false
	}
	return channelID{p[0] + "." + p[1], p[2], p[3] + "." + p[4], n}, true
}

// actor is the sender's name.
func (c channelID) actor() string {
	name, _, _ := strings.Cut(c.sender, ".")
	return name
}

// String is the identity as it stands in the Nats-Msg-Id header.
func (c channelID) String() string {
	return c.sender + "." + c.epoch + "." + c.receiver + "." + strconv.FormatInt(c.number, 10)
}

func mailboxSubject(actor, verb string) string { return bus.MailboxSubject(actor, verb) }

func eventSubject(typ, order string) string { return bus.EventSubject(typ, order) }

// Sent is one committed row of the outbox.
type Sent struct {
	// Receiver is <actor>.<shard>.
	Receiver string
	Number   int64
	Subject  string
	Cause    string
	Body     []byte
	// Apart is true for a message about another order than the one that caused
	// it, as far as a watched engine knows.
	Apart bool
}

// StepDone is what a participant did about a saga step for the first time.
type StepDone struct {
	// Step is its name, Outcome done, refused or undone.
	Step, Outcome string
}

// Handled is what became of one message, for traces.
type Handled struct {
	ID, Subject string
	// Trace is the header that it came with; Order, whom it is about, as its body
	// or all that it made says; empty for none.
	Trace, Order string
	Began, Ended time.Time
	// Step, when not empty, is what was done about it. Refusal is why it was
	// refused; Dead is true when it became a dead letter.
	StepDone
	Refusal api.Code
	Dead    bool
	// Committing and Committed are the beginning and the end of the commit.
	Committing, Committed time.Time
}

// Wake is news for whoever waits for the key.
type Wake struct {
	Key  string
	Body []byte
}

// Missing says that a channel has a gap after number Last.
type Missing struct {
	Sender string
	Epoch  string
	Last   int64
}

// Output is what a committed batch leaves to be done outside.
type Output struct {
	Sent    []Sent
	Timers  []bus.Timer
	Effects []api.Effect
	Wakes   []Wake
	Missing []Missing
	// Damaged is the number of the first message that is damaged; 0 for none.
	Damaged uint64
	Dead    []api.Letter
	// Steps are those that were done, refused or undone.
	Steps []StepDone
	// Handled and Skipped count the messages of the batch.
	Handled, Skipped int
	// Seen are the messages handled, of a watched engine.
	Seen []Handled
}

func (o *Output) add(more *Output) {
	o.Sent = append(o.Sent, more.Sent...)
	o.Timers = append(o.Timers, more.Timers...)
	o.Effects = append(o.Effects, more.Effects...)
	o.Wakes = append(o.Wakes, more.Wakes...)
	o.Missing = append(o.Missing, more.Missing...)
	o.Damaged = cmp.Or(o.Damaged, more.Damaged)
	o.Dead = append(o.Dead, more.Dead...)
	o.Steps = append(o.Steps, more.Steps...)
	o.Seen = append(o.Seen, more.Seen...)
	o.Handled += more.Handled
	o.Skipped += more.Skipped
}
