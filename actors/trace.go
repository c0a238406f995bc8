package actors

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"ordo/api"
	"ordo/bus"
	"ordo/bus/tracing"
)

// relate finds the order that the message is about: as its body says, else as
// all that it made says. What it made about others is apart.
func (tx *Tx) relate() {
	tx.order = tracing.Order(tx.in.Body)
	orders := make([]string, 0, len(tx.acts.sends))
	for i := range tx.acts.sends {
		orders = append(orders, tracing.Order(tx.acts.sends[i].body))
	}
	if tx.order == "" {
		tx.order = common(orders)
	}
	for i, order := range orders {
		tx.acts.sends[i].apart = order != tx.order
	}
	for i := range tx.acts.timers {
		if t := &tx.acts.timers[i]; tracing.Order(t.Body) == tx.order {
			t.Cause = tx.in.ID
		}
	}
	for i := range tx.acts.effects {
		if f := &tx.acts.effects[i]; tracing.Order(f.Body) == tx.order {
			f.Cause = tx.in.ID
		}
	}
}

// common is what all texts are, or empty.
func common(texts []string) string {
	for _, text := range texts {
		if text != texts[0] {
			return ""
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// note keeps what became of a message, in a watched engine.
func (b *batch) note(d *Delivery, tx *Tx, refusal *api.Error) {
	if !b.e.watched {
		return
	}
	s := Handled{ID: d.ID, Subject: d.Subject, Trace: d.Trace, Order: tx.order, Began: tx.began,
		Ended: time.Now()}
	if refusal != nil {
		s.Refusal, s.Order = refusal.Code, tracing.Order(d.Body)
	} else if n := len(tx.acts.steps); n > 0 {
		s.StepDone = tx.acts.steps[n-1]
	}
	b.out.Seen = append(b.out.Seen, s)
}

// noteFault is note for a message that became a dead letter.
func (b *batch) noteFault(d *Delivery) {
	if !b.e.watched {
		return
	}
	now := time.Now()
	b.out.Seen = append(b.out.Seen, Handled{ID: d.ID, Subject: d.Subject, Trace: d.Trace,
		Order: tracing.Order(d.Body), Began: now, Ended: now, Dead: true})
}

// trace is that of the order, else the one that the message came with.
func (s *Handled) trace() trace.TraceID {
	if s.Order != "" {
		return tracing.OfOrder(s.Order)
	}
	return tracing.Parse(s.Trace).Trace
}

// traceHandled records what a committed batch has handled.
func (h *Host) traceHandled(out *Output) {
	committed := map[trace.TraceID]bool{}
	for i := range out.Seen {
		s := &out.Seen[i]
		id := s.trace()
		if !h.cfg.Trace.Wants(id) {
			continue
		}
		at := h.traceOne(s, id)
		if committed[id] {
			continue
		}
		committed[id] = true
		h.cfg.Trace.Start(tracing.Span{Name: tracing.Commit + " " + h.spec.Name,
			At: tracing.Place{Trace: id, Span: tracing.SpanOf(tracing.Commit, h.spec.Name,
				s.ID)},
			Parent: at.Span, Began: s.Committing, Ended: s.Committed,
			Attributes: []attribute.KeyValue{attribute.Int("ordo.batch", out.Handled)}}).End()
	}
}

// traceOne records the handling of one message, and answers where that stands.
func (h *Host) traceOne(s *Handled, id trace.TraceID) tracing.Place {
	span := tracing.Span{
		Name: tracing.Handle + " " + h.spec.Name + "." + (&Delivery{Subject: s.Subject}).verb(),
		Kind: trace.SpanKindConsumer,
		At:   tracing.Place{Trace: id, Span: tracing.SpanOf(tracing.Handle, h.spec.Name, s.ID)},
		Link: tracing.Parse(s.Trace), Began: s.Began, Ended: s.Ended,
		Attributes: append(tracing.About(s.ID, s.Order), s.attributes()...)}
	if span.Link.Trace == id {
		span.Parent = span.Link.Span
	}
	if s.Dead {
		span.Fault = "dead letter" // why may tell what the message says
	}
	h.cfg.Trace.Start(span).End()
	return span.At
}

func (s *Handled) attributes() []attribute.KeyValue {
	outcome := "done"
	switch {
	case s.Dead:
		outcome = "fault"
	case s.Refusal != "":
		outcome = "refused"
	case s.Step != "":
		outcome = s.Outcome
	}
	list := append(make([]attribute.KeyValue, 0, 3), attribute.String("ordo.outcome", outcome))
	if s.Refusal != "" {
		list = append(list, attribute.String("ordo.refusal", string(s.Refusal)))
	}
	if s.Step != "" {
		list = append(list, attribute.String("ordo.step", s.Step))
	}
	return list
}

// traceOf is the trace of a dead letter, for the log; empty for none.
func (h *Host) traceOf(l *api.Letter) string {
	order := tracing.Order(l.Body)
	if id := tracing.OfOrder(order); order != "" && h.cfg.Trace.Wants(id) {
		return id.String()
	}
	return ""
}

// timerSpan is that of publishing a timer; nil for none.
func (h *Host) timerSpan(t *bus.Timer) *tracing.Span {
	if h.cfg.Trace == nil {
		return nil
	}
	return h.cfg.Trace.Sends(tracing.Sending{Actor: h.spec.Name, Verb: "timer", ID: t.ID,
		Order: tracing.Order(t.Body), Sender: h.spec.Name, Cause: t.Cause})
}

// effectSpan is that of announcing an effect; nil for none.
func (h *Host) effectSpan(f *api.Effect) *tracing.Span {
	if h.cfg.Trace == nil {
		return nil
	}
	return h.cfg.Trace.Sends(tracing.Sending{Actor: h.spec.Name, Verb: f.Name,
		ID: bus.EffectID(h.spec.Name, f), Order: tracing.Order(f.Body), Sender: h.spec.Name,
		Cause: f.Cause})
}

// span is that of publishing a message about an order; nil for none.
func (p *publisher) span(m *Parcel) *tracing.Span {
	if p.trace == nil {
		return nil
	}
	s := tracing.Sending{ID: m.ID, Order: tracing.Order(m.Body), Sender: p.engine.Spec.Name,
		Cause: m.Cause}
	s.Actor, s.Verb = addressee(m.Subject)
	if m.Apart {
		s.Cause = ""
	}
	span := p.trace.Sends(s)
	if m.Again {
		span.Add(attribute.Bool("ordo.again", true))
	}
	return span
}

// addressee is the actor and the verb of a mailbox's subject.
func addressee(subject string) (actor, verb string) {
	d := Delivery{Subject: subject}
	if verb = d.verb(); verb == "event" {
		return Journal, verb
	}
	words := strings.SplitN(subject, ".", 3)
	return words[1], verb
}

// traceHeader is a message's place in its trace; empty for most.
func traceHeader(h nats.Header) string {
	if v := h[tracing.Header]; len(v) > 0 {
		return v[0]
	}
	return ""
}
