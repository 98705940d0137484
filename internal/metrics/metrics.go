// Package metrics holds the agent's Prometheus metrics: one registry of its own, and
// the names that docs/metrics.md promises.
//
// The counters of conservation hold at any quiet moment, per sink and to the line:
// lines_read_total + lines_restored_total = lines_acked_total + lines_in_flight +
// lines_spooled + lines_deadlettered_total + lines_dropped_total + lines_absent_total.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const namespace = "log_capturer"

// MaxSources bounds how many names of containers and files become label values;
// what comes after is counted under Other.
const (
	MaxSources = 1000
	Other      = "other"
)

// Metrics are the agent's metrics. The registry serves them.
type Metrics struct {
	Registry *prometheus.Registry

	linesRead     *prometheus.CounterVec
	bytesRead     prometheus.Counter
	processed     *prometheus.CounterVec
	LinesAcked    *prometheus.CounterVec // by sink
	LinesSent     *prometheus.CounterVec // by sink, status
	DeadLettered  *prometheus.CounterVec // by sink
	DeadEntries   *prometheus.CounterVec // by sink, reason
	LinesDropped  *prometheus.CounterVec // by sink, reason
	LinesLimited  *prometheus.CounterVec // by action
	Retries       *prometheus.CounterVec // by sink
	upstreamLost  *prometheus.CounterVec // by reason
	streamAge     prometheus.Histogram
	SendDuration  *prometheus.HistogramVec // by sink
	mu            sync.Mutex
	sources       map[string]*sourceCounters
	otherCounters *sourceCounters
}

type sourceCounters struct{ read, processed prometheus.Counter }

// New returns the metrics in a new registry, with those of the Go runtime and of the process.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Registry:     prometheus.NewRegistry(),
		linesRead:    counter("lines_read_total", "Lines read and taken over, by container or file (the first 1000 names, then other).", "source"),
		bytesRead:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "bytes_read_total", Help: "Bytes of the lines in lines_read_total."}),
		processed:    counter("logs_processed_total", "Lines that went through all stages, by container or file.", "source"),
		LinesAcked:   counter("lines_acked_total", "Lines that the sink accepted.", "sink"),
		LinesSent:    counter("logs_sent_total", "Lines by what came of sending them; failed counts every attempt.", "sink", "status"),
		DeadLettered: counter("lines_deadlettered_total", "Lines that the sink refused for good and that are dead letters now.", "sink"),
		DeadEntries:  counter("deadletter_entries_total", "Dead letters by reason.", "sink", "reason"),
		LinesDropped: counter("lines_dropped_total", "Lines given up, by reason; read_again: they come again from their source.", "sink", "reason"),
		LinesLimited: counter("lines_rate_limited_total", "Lines beyond dispatcher.rate_limit, by what was done: delayed, spooled, dropped.", "action"),
		Retries:      counter("retries_total", "Sends that failed and were tried again.", "sink"),
		upstreamLost: counter("lines_upstream_lost_total", "Lines lost before they could be read, by reason; 1 for each time where it is not known how many.", "reason"),
		streamAge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "container_stream_age_seconds", Help: "How long follow streams were open when they were closed.",
			Buckets: []float64{1, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600},
		}),
		SendDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "sink_send_duration_seconds", Help: "Duration of sends, failed ones too.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"sink"}),
		sources: map[string]*sourceCounters{},
	}
	m.Registry.MustRegister(
		m.linesRead, m.bytesRead, m.processed, m.LinesAcked, m.LinesSent, m.DeadLettered, m.DeadEntries,
		m.LinesDropped, m.LinesLimited, m.Retries, m.SendDuration, m.upstreamLost, m.streamAge,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Read counts lines that were read from a source and taken over.
func (m *Metrics) Read(source string, lines, bytes int) {
	c := m.source(source)
	c.read.Add(float64(lines))
	c.processed.Add(float64(lines))
	m.bytesRead.Add(float64(bytes))
}

// Lost counts lines that were lost before they could be read.
func (m *Metrics) Lost(reason string, lines int64) {
	m.upstreamLost.WithLabelValues(reason).Add(float64(lines))
}

// StreamAged notes how long a stream was open that was closed.
func (m *Metrics) StreamAged(d time.Duration) { m.streamAge.Observe(d.Seconds()) }

func (m *Metrics) source(name string) *sourceCounters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.sources[name]; c != nil {
		return c
	}
	if len(m.sources) < MaxSources {
		c := m.counters(name)
		m.sources[name] = c
		return c
	}
	if m.otherCounters == nil {
		m.otherCounters = m.counters(Other)
	}
	return m.otherCounters
}

func (m *Metrics) counters(name string) *sourceCounters {
	return &sourceCounters{read: m.linesRead.WithLabelValues(name), processed: m.processed.WithLabelValues(name)}
}

// Sample is one value of a Func metric.
type Sample struct {
	Labels []string
	Value  float64
}

// Func registers a metric whose values are asked for at each scrape. kind is
// prometheus.GaugeValue or CounterValue.
func (m *Metrics) Func(kind prometheus.ValueType, name, help string, labels []string, fn func() []Sample) {
	m.Registry.MustRegister(&funcCollector{
		desc: prometheus.NewDesc(namespace+"_"+name, help, labels, nil), kind: kind, fn: fn,
	})
}

type funcCollector struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	fn   func() []Sample
}

func (c *funcCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c *funcCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.fn() {
		ch <- prometheus.MustNewConstMetric(c.desc, c.kind, s.Value, s.Labels...)
	}
}
