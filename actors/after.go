package actors

import (
	"fmt"
	"time"

	"ordo/api"
	"ordo/bus"
)

// after does what a committed batch leaves to be done outside: best efforts,
// but for the outbox.
func (h *Host) after(out *Output) {
	h.tally.add(out)
	h.pub.hand(out.Sent)
	h.traceHandled(out)
	for _, w := range out.Wakes {
		if h.cfg.Edge != nil {
			h.cfg.Edge.Notify(w.Key, w.Body)
		}
		// A wake-up may get lost: who waits also asks.
		_ = h.nc.Publish(bus.WakeSubject(w.Key), w.Body)
	}
	for _, m := range out.Missing {
		h.askAgain(m)
	}
	for _, t := range out.Timers {
		h.publishTimer(t)
	}
	h.publishEffects(out.Effects, false)
	for i := range out.Dead {
		h.announceDead(&out.Dead[i])
	}
}

func (h *Host) announceDead(l *api.Letter) {
	args := []any{"subject", l.Subject, "msg_id", l.ID, "err", l.Error}
	if trace := h.traceOf(l); trace != "" {
		args = append(args, "trace", trace)
	}
	h.log.Error("dead letter", args...)
	id := fmt.Sprintf("dead-%s-%d", h.spec.Name, l.N)
	if _, err := bus.Publish(h.js, bus.DeadSubject(h.spec.Name), id, nil, api.Raw(l)); err != nil {
		h.log.Warn("dead letter not announced", "msg_id", l.ID, "err", err)
	}
}

func (h *Host) publishTimer(t bus.Timer) {
	if time.Until(t.Due.Std()) > bus.MaxTimer {
		return // the sweep will find it
	}
	h.timers.Ensure(t.Class)
	t.Span = h.timerSpan(&t)
	if err := bus.PublishTimer(h.js, h.spec.Name, t); err != nil {
		h.log.Warn("timer left to the sweep", "msg_id", t.ID, "err", err)
		return
	}
	t.Span.End()
}

// announce publishes open effects again whose last announcement may be lost
// with the stream's tail; the stream knows most of them. At the start they are
// published anew, because the worker that had them may have ended with the
// process before, and the stream would wait long for it.
func (h *Host) announce() {
	open, err := h.engine.OpenEffects()
	if err != nil {
		h.log.Warn("open effects left to the sweep", "err", err)
	}
	h.publishEffects(open, !h.announced)
	h.announced = true
}

func (h *Host) publishEffects(effects []api.Effect, anew bool) {
	for i := range effects {
		span := h.effectSpan(&effects[i])
		if err := bus.PublishEffect(h.js, h.spec.Name, &effects[i],
			bus.Announcement{Anew: anew, Span: span}); err != nil {
			h.log.Warn("effect left to the sweep", "effect", effects[i].ID, "err", err)
			continue
		}
		span.End()
	}
}
