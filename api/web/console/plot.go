package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"ordo/api"
)

// Sizes of a plot, in units of its own.
const (
	plotWidth  = 720
	plotHeight = 120
	// plotBars is the most bars of a plot; longer times have several minutes in
	// a bar.
	plotBars = 180
)

// plot is how many orders came into a state, over time.
type plot struct {
	Title string
	// Total is the sum, and Most that of the highest bar, which is Step minutes
	// wide.
	Total, Most int64
	Step        int
	// Path draws the bars; it holds numbers alone.
	Path template.HTMLAttr
	// Rows are the bars that are not empty.
	Rows []bar
	// From and Until bound the time.
	From, Until api.Time
}

// bar is a bar of a plot.
type bar struct {
	At api.Time
	N  int64
}

// plotted are the plots of the overview: a title and the states that it counts.
var plotted = [...]struct {
	title  string
	states []string
}{
	{"Submitted", []string{api.OrderPending}},
	{"Placed", []string{api.OrderPlaced}},
	{"Paid", []string{api.OrderPaid}},
	{"Refused or cancelled", []string{api.OrderRefused, api.OrderCancelled}},
}

// plots draws what came into states in the last minutes.
func plots(t *api.Tally, now api.Time, minutes int) []plot {
	step := (minutes + plotBars - 1) / plotBars
	wide := api.Time(step) * api.Time(time.Minute)
	until := now - now%wide + wide
	n := (minutes + step - 1) / step
	from := until - api.Time(n)*wide
	all := make([]plot, len(plotted))
	for i := range plotted {
		p := &all[i]
		p.Title, p.Step, p.From, p.Until = plotted[i].title, step, from, until
		counts := make([]int64, n)
		for _, m := range t.Minutes {
			at := int((m.At - from) / wide)
			if m.At < from || at >= n {
				continue
			}
			for _, state := range plotted[i].states {
				counts[at] += m.Entered[state]
			}
		}
		for at, count := range counts {
			p.Total, p.Most = p.Total+count, max(p.Most, count)
			if count > 0 {
				p.Rows = append(p.Rows, bar{from + api.Time(at)*wide, count})
			}
		}
		p.Path = bars(counts, p.Most)
	}
	return all
}

// bars is the path of a plot's bars.
func bars(counts []int64, most int64) template.HTMLAttr {
	var b strings.Builder
	width := float64(plotWidth) / float64(len(counts))
	for i, n := range counts {
		if n == 0 {
			continue
		}
		height := max(float64(plotHeight)*float64(n)/float64(most), 1)
		fmt.Fprintf(&b, "M%.1f %dv-%.1fh%.1fv%.1fz", float64(i)*width, plotHeight, height,
			max(width-0.5, 0.5), height)
	}
	return template.HTMLAttr(`d="` + b.String() + `"`)
}
