package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// Limits of what leaves.
const (
	// MaxQueue is the most spans that wait for the collector.
	MaxQueue = 8192
	// maxExport is the most spans in one request, and exportEvery how long the
	// first of them waits for others.
	maxExport   = 512
	exportEvery = time.Second
	// exportWait is how long a request may take, tries again included, and
	// closeWait how long the last ones.
	exportWait = 5 * time.Second
	closeWait  = 3 * time.Second
	// warnEvery is how often the log hears that spans do not get through.
	warnEvery = time.Minute
)

// outlet takes spans in without waiting and lets them out in batches. It counts
// what it lets out and what it drops.
type outlet struct {
	sdk.SpanProcessor
	waiting, sent, dropped atomic.Int64

	client sdk.SpanExporter
	log    *slog.Logger
	// warned and unsaid belong to the one goroutine that exports.
	warned time.Time
	unsaid int
}

func newOutlet(client sdk.SpanExporter, log *slog.Logger) *outlet {
	o := &outlet{client: client, log: log}
	o.SpanProcessor = sdk.NewBatchSpanProcessor(exporter{o}, sdk.WithMaxQueueSize(MaxQueue),
		sdk.WithMaxExportBatchSize(maxExport), sdk.WithBatchTimeout(exportEvery),
		sdk.WithExportTimeout(exportWait))
	return o
}

// OnEnd implements sdk.SpanProcessor. It never waits.
func (o *outlet) OnEnd(s sdk.ReadOnlySpan) {
	if o.waiting.Add(1) > MaxQueue {
		o.waiting.Add(-1)
		o.dropped.Add(1)
		return
	}
	o.SpanProcessor.OnEnd(s)
}

// exporter is the outlet's way to the collector.
type exporter struct{ *outlet }

// ExportSpans implements sdk.SpanExporter. It answers no error, which would be
// told to a handler for all of the process.
func (e exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.client.ExportSpans(ctx, spans)
	e.waiting.Add(-int64(len(spans)))
	if err == nil {
		e.sent.Add(int64(len(spans)))
		return nil
	}
	e.dropped.Add(int64(len(spans)))
	e.unsaid += len(spans)
	if time.Since(e.warned) >= warnEvery {
		e.log.Warn("spans dropped", "count", e.unsaid, "err", err)
		e.warned, e.unsaid = time.Now(), 0
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (e exporter) Shutdown(ctx context.Context) error { return e.client.Shutdown(ctx) }
