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

// placeOf is where the span of handling a message stands: in the order's trace,
// else in the one that the message came with.
func placeOf(actor string, s *Handled) tracing.Place {
	p := tracing.Place{Trace: tracing.Parse(s.Trace).Trace,
		Span: tracing.SpanOf(tracing.Handle, actor, s.ID)}
	if s.Order != "" {
		p.Trace = tracing.OfOrder(s.Order)
	}
	return p
}

// traceHandled records what a committed batch has handled.
func (h *Host) traceHandled(out *Output) {
	committed := map[trace.TraceID]bool{}
	for i := range out.Seen {
		s := &out.Seen[i]
		at, from := placeOf(h.spec.Name, s), tracing.Parse(s.Trace)
		span := h.cfg.Trace.Start(tracing.Span{
			Name: tracing.Handle + " " + h.spec.Name + "." + (&Delivery{Subject: s.Subject}).verb(),
			Kind: trace.SpanKindConsumer, At: at, Link: from, Began: s.Began, Ended: s.Ended,
			Attributes: tracing.About(s.ID, s.Order)})
		if span == nil {
			continue
		}
		if s.Dead {
			span.Fault = "dead letter" // why may tell what the message says
		}
		if from.Trace == at.Trace {
			span.Parent = from.Span
		}
		span.Add(s.attributes()...)
		span.End()
		if committed[at.Trace] {
			continue
		}
		committed[at.Trace] = true
		h.cfg.Trace.Start(tracing.Span{Name: tracing.Commit + " " + h.spec.Name,
			At: tracing.Place{Trace: at.Trace,
				Span: tracing.SpanOf(tracing.Commit, h.spec.Name, s.ID)},
			Parent: at.Span, Began: s.Committing, Ended: s.Committed,
			Attributes: []attribute.KeyValue{attribute.Int("ordo.batch", out.Handled)}}).End()
	}
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

// cause is the place of the span that handled the message with that id, which
// is about the order; without a span when there is none.
func cause(actor, id, order string) (p tracing.Place) {
	p.Trace = tracing.OfOrder(order)
	if id != "" {
		p.Span = tracing.SpanOf(tracing.Handle, actor, id)
	}
	return p
}

// timerSpan is that of publishing a timer; nil for none.
func (h *Host) timerSpan(t *bus.Timer) *tracing.Span {
	if h.cfg.Trace == nil {
		return nil
	}
	order := tracing.Order(t.Body)
	if order == "" {
		return nil
	}
	return h.cfg.Trace.Start(tracing.Sending(h.spec.Name, "timer", t.ID, order,
		cause(h.spec.Name, t.Cause, order)))
}

// effectSpan is that of announcing an effect; nil for none.
func (h *Host) effectSpan(f *api.Effect) *tracing.Span {
	if h.cfg.Trace == nil {
		return nil
	}
	order := tracing.Order(f.Body)
	if order == "" {
		return nil
	}
	return h.cfg.Trace.Start(tracing.Sending(h.spec.Name, f.Name,
		bus.EffectID(h.spec.Name, f), order, cause(h.spec.Name, f.Cause, order)))
}

// span is that of publishing a message about an order; nil for none.
func (p *publisher) span(m *Parcel) *tracing.Span {
	if p.trace == nil {
		return nil
	}
	order := tracing.Order(m.Body)
	if order == "" {
		return nil
	}
	id, actor := m.Cause, p.engine.Spec.Name
	if m.Apart {
		id = ""
	}
	receiver, verb := addressee(m.Subject)
	span := p.trace.Start(tracing.Sending(receiver, verb, m.ID, order, cause(actor, id, order)))
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
