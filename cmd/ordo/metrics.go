package main

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ordo/actors"
	"ordo/actors/audit"
	"ordo/api"
)

// metrics serves what the process knows of orders, actors, requests, gateways,
// its audit and Go.
func (s *Shop) metrics() http.Handler {
	return promhttp.HandlerFor(s.registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 4,
		Timeout: 2 * scrapeLimit})
}

func (s *Shop) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s},
		s.meters.requests, s.meters.effects, s.meters.late)
	return r
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
	c.process(out)
	c.orders(ctx, out)
	for _, h := range c.shop.running() {
		c.actor(ctx, h, out)
		c.counts(h, out)
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

// process tells of the process as a whole.
func (c *collector) process(out chan<- prometheus.Metric) {
	s := c.shop
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(desc("build_info", "1, with the version of the shop and of Go.", "version", "go_version"),
		prometheus.GaugeValue, 1, Version, runtime.Version())
	send(desc("nats_connected", "1 while this process reaches NATS."), prometheus.GaugeValue,
		oneIf(s.nc.IsConnected()))
	send(desc("nats_reconnects_total", "How often it has lost and found NATS."),
		prometheus.CounterValue, float64(s.nc.Stats().Reconnects))
	if s.trace != nil {
		sent, dropped := s.trace.Counts()
		send(desc("trace_spans_sent_total", "Spans that the collector has taken."),
			prometheus.CounterValue, float64(sent))
		send(desc("trace_spans_dropped_total",
			"Spans that it did not take, or for whom no room was."),
			prometheus.CounterValue, float64(dropped))
	}
	if s.pay == nil {
		return
	}
	for provider, state := range s.pay.Breakers() {
		for _, each := range []string{"closed", "half-open", "open"} {
			send(desc("gateway_breaker", "1 for the state that the provider's breaker is in; "+
				"it is not asked while it is open.", "provider", "state"), prometheus.GaugeValue,
				oneIf(each == state), provider, each)
		}
	}
}

// orders counts the orders in each state, where the order actor is.
func (c *collector) orders(ctx context.Context, out chan<- prometheus.Metric) {
	if !c.shop.runs("order") || slices.Contains(c.shop.downNames(), "order") {
		return
	}
	var tally api.Tally
	if err := c.shop.edge.Ask(ctx, &api.GetTally{}, &tally); err != nil {
		if refusal := api.AsError(err); refusal == nil || refusal.Code != api.CodeNotFound {
			c.shop.cfg.Log.Warn("metrics", "actor", "order", "err", err)
		}
		return
	}
	for _, state := range []string{api.OrderPending, api.OrderPlaced, api.OrderPaid,
		api.OrderClosing, api.OrderRefused, api.OrderCancelled} {
		out <- prometheus.MustNewConstMetric(desc("orders", "Orders in each state.", "state"),
			prometheus.GaugeValue, float64(tally.States[state]), state)
	}
}

// series sends the metrics of one actor.
type series struct {
	actor string
	out   chan<- prometheus.Metric
}

func (s series) gauge(name, help string, v float64) {
	s.out <- prometheus.MustNewConstMetric(desc("actor_"+name, help, "actor"),
		prometheus.GaugeValue, v, s.actor)
}

func (s series) counter(name, help string, v float64) {
	s.out <- prometheus.MustNewConstMetric(desc("actor_"+name, help, "actor"),
		prometheus.CounterValue, v, s.actor)
}

func (c *collector) actor(ctx context.Context, h *actors.Host, out chan<- prometheus.Metric) {
	a := h.Health(ctx)
	s := series{a.Actor, out}
	s.gauge("ready", readyHelp, oneIf(a.Ready))
	s.gauge("unconfirmed", "Messages sent that their receivers have not been seen to commit.",
		float64(a.Unconfirmed))
	s.gauge("stopped_channels", "Receivers to which nothing is sent any more.",
		float64(len(a.Stopped)))
	s.gauge("canary_age_seconds", "Time since a tick was last committed.", a.CanarySeconds)
	s.gauge("canary_duration_seconds", "Time from the storing of that tick to its commit.",
		a.CanaryTook)
	s.counter("messages_total", "Messages handled since the start.", float64(a.Messages))
	s.counter("batches_total", "Transactions committed since the start.", float64(a.Batches))
	s.counter("busy_seconds_total", "Time spent on batches since the start.",
		float64(a.BusyMicros)/1e6)
	s.counter("commit_seconds_total", "The part of it in COMMIT, with its fsync.",
		float64(a.CommitMicros)/1e6)
	if a.Unread != "" {
		// What can't be read is missing, which an alert can ask for.
		c.shop.cfg.Log.Warn("metrics", "actor", a.Actor, "err", a.Unread)
		return
	}
	s.gauge("lag", "Messages of the mailbox that are not committed yet.", float64(a.Lag))
	s.gauge("oldest_unconfirmed_seconds", "Age of the oldest message sent that its receiver has "+
		"not been seen to commit.", a.OldestSeconds)
	s.gauge("dead_letters", "Open dead letters.", float64(a.Dead))
	s.gauge("effects_open", "Effects without a final outcome.", float64(a.Effects))
	s.gauge("incidents", "Incidents of the runtime, ever.", float64(a.Incidents))
	for class, n := range a.Timers {
		out <- prometheus.MustNewConstMetric(desc("timers_pending", "Timers that wait, by class.",
			"actor", "class"), prometheus.GaugeValue, float64(n), a.Actor, class)
	}
}

// counts tells what an actor has done since the start.
func (c *collector) counts(h *actors.Host, out chan<- prometheus.Metric) {
	n, s := h.Counts(), series{h.Status().Actor, out}
	s.counter("repeats_total", "Messages passed over: handled before, or too early.",
		float64(n.Repeats))
	s.counter("gaps_total", "Gaps found in what senders sent.", float64(n.Gaps))
	s.counter("new_dead_letters_total", "Messages that became dead letters.", float64(n.Dead))
	s.counter("published_total", "Messages to other actors handed to NATS.", float64(n.Published))
	s.counter("resent_total", "Those of them that had been before.", float64(n.Resent))
	s.counter("publish_failures_total", "Messages that NATS did not take.", float64(n.Unpublished))
	events := desc("events_total", "Facts about orders that were committed.", "actor",
		"event")
	for event, v := range n.Events {
		out <- prometheus.MustNewConstMetric(events, prometheus.CounterValue, float64(v), s.actor,
			event)
	}
	steps := desc("steps_total", "Steps of orders and refunds, done, refused and undone.", "actor",
		"step", "outcome")
	for step, v := range n.Steps {
		out <- prometheus.MustNewConstMetric(steps, prometheus.CounterValue, float64(v), s.actor,
			step.Step, step.Outcome)
	}
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
