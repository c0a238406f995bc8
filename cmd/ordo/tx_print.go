package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"ordo/api"
	"ordo/api/rest"
)

// pages prints tables one below the other, and keeps the first error.
type pages struct {
	w   io.Writer
	err error
}

func (p *pages) say(format string, args ...any) {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = oneLine(a)
		case error:
			args[i] = oneLine(a.Error())
		}
	}
	_, err := fmt.Fprintf(p.w, format, args...)
	p.err = errors.Join(p.err, err)
}

// oneLine is text as a terminal may show it. Shoppers write reasons: none of them
// steers the terminal of who looks, or begins a line that seems to be ours.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return ' '
		}
		return r
	}, text)
}

// table prints rows under a head; nothing when there are none.
func (p *pages) table(head string, n int, row func(i int) string) {
	if n == 0 {
		return
	}
	p.say("\n")
	w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head) // w keeps its error
	for i := range n {
		fmt.Fprintln(w, oneLine(row(i)))
	}
	p.err = errors.Join(p.err, w.Flush())
}

// printTimeline prints an order's life for people.
func printTimeline(out io.Writer, t *rest.Timeline) error {
	p := &pages{w: out}
	o := &t.Order
	if o.State == "" {
		p.say("order %s is %s\n", o.ID, t.Missing.Unknown("order"))
	} else {
		p.say("order %s of %s is %s: total %s, to pay %s, refunded %s\n", o.ID, t.User, o.State,
			o.Total, o.Due, o.Refunded)
	}
	if t.Told > 0 {
		p.say("the order is as the journal was told of it at %s\n", second(t.Told))
	}
	if o.Reason != nil {
		p.say("reason: %s\n", o.Reason)
	}
	for i := range t.Why {
		p.say("why: %s\n", t.Why[i].Text)
		if do := t.Why[i].Do; do != "" {
			p.say("  do: %s\n", do)
		}
	}
	p.table("STEP\tSTATE\tTRIES\tASKED\tANSWERED\tREFUSAL", len(t.Steps), func(i int) string {
		return stepRow(&t.Steps[i].StepView)
	})
	p.table("FOUND AT PARTICIPANTS\tSTATE", len(t.Found), func(i int) string {
		f := &t.Found[i]
		return stepName(f.Name, f.Occurrence) + "\t" + f.State
	})
	p.table("REFUND\tSTATE\tAMOUNT\tASKED\tBY", len(t.Refunds), func(i int) string {
		r := &t.Refunds[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", r.ID, r.State, r.Amount, second(r.Asked), r.By)
	})
	p.table("ATTEMPT\tPROVIDER\tSTATE\tAMOUNT\tOPENED\tTRADE", len(t.Attempts), func(i int) string {
		a := &t.Attempts[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", a.ID, a.Provider, a.State, a.Amount,
			second(a.OpenedAt), or(a.TradeNo, "-"))
	})
	p.table("AT\tFROM\tMESSAGE\tSTREAM\tBECAME", len(t.Messages), func(i int) string {
		m := &t.Messages[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s %d\t%s", clock(m.At), m.From, m.Subject, m.Stream, m.Seq,
			became(m))
	})
	p.table("EFFECT\tSTATE\tTRIES\tNEXT TRY\tERROR", len(t.Effects), func(i int) string {
		f := &t.Effects[i]
		return fmt.Sprintf("%s %s\t%s\t%d\t%s\t%s", f.Actor, f.Name, f.State, f.Attempts,
			second(f.NextTry), or(f.Error, "-"))
	})
	p.table("DEAD LETTER\tSTATE\tAT\tSUBJECT\tERROR", len(t.Letters), func(i int) string {
		l := &t.Letters[i]
		return fmt.Sprintf("%s %d\t%s\t%s\t%s\t%s", l.Actor, l.N, l.State, second(l.At), l.Subject,
			l.Error)
	})
	p.table("EVENT\tAT\tBY\tREASON", len(t.Events), func(i int) string {
		e := &t.Events[i]
		who := e.Intervention()
		return fmt.Sprintf("%s\t%s\t%s\t%s", e.Type, clock(e.At), or(who.By, "-"),
			or(who.Reason, "-"))
	})
	p.say("\n")
	for _, text := range append(t.Missing.Lines(), t.Notes...) {
		p.say("note: %s\n", text)
	}
	return p.err
}

// stepName is a step's name, with the refund that it is part of.
func stepName(name string, occurrence int) string {
	if occurrence > 0 {
		return fmt.Sprintf("%s (refund %d)", name, occurrence)
	}
	return name
}

func stepRow(s *api.StepView) string {
	refusal := "-"
	if s.Refusal != nil {
		refusal = s.Refusal.Error()
	}
	answered := "-"
	if !s.Open() {
		answered = clock(s.AnsweredAt)
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%s", stepName(s.Name, s.Occurrence), s.State,
		s.Attempts, clock(s.Since()), answered, refusal)
}

// became says what became of a message.
func became(m *rest.TimelineMessage) string {
	switch {
	case m.Dead != "":
		return "dead letter " + m.Dead
	case m.Unknown != "":
		return "unknown: " + m.Unknown
	case !m.Handled:
		return "waits"
	}
	return or(m.Outcome, "handled")
}
