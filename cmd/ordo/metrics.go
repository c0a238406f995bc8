package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ordo/actors"
	"ordo/actors/audit"
)

// scrapeLimit is how long the actors' gauges may take to be read.
const scrapeLimit = 2 * time.Second

// metrics serves what the process knows of its actors and its audit, and of Go.
func (s *Shop) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4,
		Timeout: 2 * scrapeLimit})
}

// collector reads the shop's metrics when they are asked for.
type collector struct{ shop *Shop }

const readyHelp = "1 while the actor takes messages."

// desc is a metric's name and help, with the names of its labels.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("ordo_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector: none, as labels come with the shop.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	for _, h := range c.shop.running() {
		c.actor(ctx, h, out)
	}
	for _, name := range c.shop.downNames() {
		out <- prometheus.MustNewConstMetric(desc("actor_ready", readyHelp, "actor"),
			prometheus.GaugeValue, 0, name)
	}
	if a := c.shop.standing(); a != nil {
		report := a.Report()
		c.audit(&report, out)
	}
}

func (c *collector) actor(ctx context.Context, h *actors.Host, out chan<- prometheus.Metric) {
	s := h.Status()
	gauge := func(name, help string, v float64) {
		out <- prometheus.MustNewConstMetric(desc("actor_"+name, help, "actor"),
			prometheus.GaugeValue, v, s.Actor)
	}
	counter := func(name, help string, v float64) {
		out <- prometheus.MustNewConstMetric(desc("actor_"+name, help, "actor"),
			prometheus.CounterValue, v, s.Actor)
	}
	gauge("ready", readyHelp, oneIf(s.Ready))
	gauge("unconfirmed", "Messages sent that their receivers have not been seen to commit.",
		float64(s.Unconfirmed))
	gauge("stopped_channels", "Receivers to which nothing is sent any more.",
		float64(len(s.Stopped)))
	counter("messages_total", "Messages handled since the start.", float64(s.Messages))
	counter("batches_total", "Transactions committed since the start.", float64(s.Batches))
	counter("busy_seconds_total", "Time spent on batches since the start.",
		float64(s.BusyMicros)/1e6)
	counter("commit_seconds_total", "The part of it in COMMIT, with its fsync.",
		float64(s.CommitMicros)/1e6)
	g, err := h.Gauges(ctx)
	if err != nil {
		// What can't be read is missing, which an alert can ask for.
		c.shop.cfg.Log.Warn("metrics", "actor", s.Actor, "err", err)
		return
	}
	gauge("lag", "Messages of the mailbox that are not committed yet.", float64(g.Pending))
	gauge("dead_letters", "Open dead letters.", float64(g.Dead))
	gauge("effects_open", "Effects without a final outcome.", float64(g.Effects))
	gauge("incidents", "Incidents of the runtime, ever.", float64(g.Incidents))
}

func (c *collector) audit(r *audit.Report, out chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64) {
		out <- prometheus.MustNewConstMetric(desc("audit_"+name, help), prometheus.GaugeValue, v)
	}
	deviations := desc("audit_deviations", "What does not add up now, by check.", "check")
	for _, check := range audit.Checks() {
		out <- prometheus.MustNewConstMetric(deviations, prometheus.GaugeValue,
			float64(r.ByCheck[check]), check)
	}
	gauge("ok", "1 while nothing deviates and no file is damaged.", oneIf(r.OK))
	gauge("damaged_files", "Files that can't be read to their end.", float64(len(r.Damaged)))
	gauge("failed", "1 while a part of the audit can't be done.", oneIf(r.Error != ""))
	gauge("checks", "Checks that run in this process.", float64(r.Checks))
	gauge("round_orders", "Orders of the last round.", float64(r.Orders))
	gauge("round_duration_seconds", "Time that the last round took.", float64(r.TookMicros)/1e6)
	gauge("behind", "Events whose orders have not been looked at yet.", float64(r.Behind))
	out <- prometheus.MustNewConstMetric(desc("audit_rounds_total", "Rounds since the start."),
		prometheus.CounterValue, float64(r.Rounds))
	if r.At != 0 {
		gauge("round_age_seconds", "Time since the last round ended.",
			time.Since(r.At.Std()).Seconds())
	}
	if r.PassedAt != 0 {
		gauge("pass_age_seconds", "Time since all orders of the past had been looked at.",
			time.Since(r.PassedAt.Std()).Seconds())
	}
}

func oneIf(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}
