package bus

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of ordo's messages, beside Nats-Msg-Id.
const (
	// HeaderAfter is, in the first messages of a new epoch, the last number of
	// the epoch before.
	HeaderAfter = "Ordo-After"
	// HeaderCause is the identity of the message that caused this one.
	HeaderCause = "Ordo-Cause"
	// HeaderDue is when a timer's message is due, RFC 3339.
	HeaderDue = "Ordo-Due"
	// HeaderTo is the subject that a timer's message is forwarded to.
	HeaderTo = "Ordo-To"
)

// again separates a message's identity from what makes a later sending of it
// unknown to JetStream's dedupe window.
const again = "~"

// Fresh is the Nats-Msg-Id of a sending of a message that is not the first.
func Fresh(id string) string { return id + again + rand.Text()[:8] }

// Identity is the identity of a message: its Nats-Msg-Id without the suffix of
// a later sending.
func Identity(h nats.Header) string {
	id, _, _ := strings.Cut(h.Get(jetstream.MsgIDHeader), again)
	return id
}

// IsAnswer tells a message that JetStream has read out of a stream and sent to whoever
// asked. NATS does not look at reply subjects, so it may have been sent to a mailbox.
func IsAnswer(h nats.Header) bool { return h[jetstream.StreamHeader] != nil }

// After reads HeaderAfter; 0 when there is none.
func After(h nats.Header) int64 {
	v := h[HeaderAfter]
	if len(v) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(v[0], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// maxInFlight is the most publishes of one connection without an answer.
const maxInFlight = 4096

// NewJetStream opens a JetStream context for publishing in order: no retries
// of its own, maxInFlight unanswered publishes, and failed reports every
// publish that was not stored.
func NewJetStream(nc *nats.Conn, failed func(m *nats.Msg, err error)) (jetstream.JetStream, error) {
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(maxInFlight),
		jetstream.WithPublishAsyncTimeout(10*time.Second),
		jetstream.WithPublishAsyncErrHandler(
			func(_ jetstream.JetStream, m *nats.Msg, err error) { failed(m, err) }))
	if err != nil {
		return nil, fmt.Errorf("bus: jetstream: %w", err)
	}
	return js, nil
}

// Publish sends a message without waiting for its storing; id is its
// Nats-Msg-Id.
func Publish(js jetstream.JetStream, subject, id string, header nats.Header, body []byte) (
	jetstream.PubAckFuture, error) {
	if header == nil {
		header = make(nats.Header, 1)
	}
	header[jetstream.MsgIDHeader] = []string{id}
	f, err := js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: header, Data: body},
		jetstream.WithRetryAttempts(0), jetstream.WithStallWait(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("bus: publish %s: %w", subject, err)
	}
	return f, nil
}

// IsPermanent tells a publish error that the same message will always meet.
func IsPermanent(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode == 10054 // message size exceeds maximum allowed
	}
	return errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject)
}

// hash is a short fingerprint of a body for message ids.
func hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}
