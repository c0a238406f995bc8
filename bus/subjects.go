// Package bus is the shop's use of NATS JetStream: it embeds a server or joins
// a cluster, declares every stream and bucket in one table, builds every
// subject and name, publishes with message ids, and carries mailboxes, timers,
// queries and wake-ups. It decides how messages travel, never what they mean.
package bus

import (
	"strings"
)

// Shard is the only shard of every actor until a setup with more is made.
const Shard = "0"

// EventPrefix begins the subject of every event.
const EventPrefix = "ordo.event."

// Address is the address of an actor's mailbox: <actor>.<shard>.
func Address(actor string) string { return actor + "." + Shard }

// MailboxSubject is where messages to an actor are published:
// ordo.<actor>.<shard>.<verb>.
func MailboxSubject(actor, verb string) string {
	return "ordo." + actor + "." + Shard + "." + verb
}

// EventSubject is where an event is published:
// ordo.event.<domain>.<past tense>.<order>.
func EventSubject(typ, order string) string { return EventPrefix + typ + "." + order }

// QuerySubject is the micro endpoint of a query: ordo.q.<actor>.<name>.
func QuerySubject(actor, name string) string { return "ordo.q." + actor + "." + name }

// WakeSubject carries news for whoever waits for the key, on core NATS:
// ordo.wake.<key>.
func WakeSubject(key string) string { return WakePrefix + key }

// WakePrefix begins the subject of every wake-up.
const WakePrefix = "ordo.wake."

// ResendSubject is where a receiver asks a sender (<actor>.<shard>) to go back.
func ResendSubject(sender string) string { return "ordo.sys.resend." + sender }

// CommittedSubject is where a sender asks a receiver (<actor>.<shard>) what it
// has committed.
func CommittedSubject(receiver string) string { return "ordo.sys.committed." + receiver }

// KnownSubject is where a starting actor asks all others whether it has ever
// committed a number of theirs.
const KnownSubject = "ordo.sys.known"

// UpSubject is where an actor that has started says so.
const UpSubject = "ordo.sys.up"

// TimerSubject is where a timer of a class is published:
// ordo.timer.<actor>.<class>.
func TimerSubject(actor, class string) string { return "ordo.timer." + actor + "." + class }

// EffectSubject is where the work of an effect is published:
// ordo.effect.<actor>.<name>.
func EffectSubject(actor, name string) string { return "ordo.effect." + actor + "." + name }

// DeadSubject announces an actor's dead letters: ordo.dead.<actor>.
func DeadSubject(actor string) string { return "ordo.dead." + actor }

// MailboxStream is the name of an actor's mailbox stream, for example ORDER.
// The journal's mailbox is EVENTS.
func MailboxStream(actor string) string {
	if actor == "journal" {
		return StreamEvents
	}
	return strings.ToUpper(actor)
}
