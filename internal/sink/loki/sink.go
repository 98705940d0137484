// Package loki delivers entries to Grafana Loki: protobuf, snappy, one label set per
// stream, nanosecond timestamps as they are.
//
// # What it promises
//
// Send returns nil only when Loki has answered for every entry. Two facts about Loki
// (3.7.8, but old) shape how it does that:
//
// Loki ignores an entry whose stream, timestamp and line it has already, so sending
// twice has the effect of once, as long as the entry is not in a flushed chunk yet.
// The sink relies on that when a reply is lost, and avoids it elsewhere: a Send that
// failed half-way goes on where it stopped when the same views come again.
//
// Of a request with several streams Loki's ingester reports only what became of the
// last one: refusals in the others (too far behind, stream rate limit, stream count)
// are answered with 204 and the entries are gone. So a stream shares a request with
// others only while nothing of that kind can happen to it, see sharing; in all other
// cases it goes alone.
//
// # What is refused
//
// From the words of a 400 the sink finds out exactly which entries Loki refused, and
// reports those; what it cannot settle by words it settles by sending parts again.
// What might be a matter of configuration (401, 403, 404, a page of some proxy) is
// never held against entries, but tried again until someone mends it.
package loki

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/wire"
)

var _ sink.Sink = (*Sink)(nil)

// keptBuffer is the largest buffer that is kept between Sends, in bytes.
const keptBuffer = 4 << 20

// keptRefs is how many refs, of 16 bytes, are kept between Sends in all.
const keptRefs = 64 << 10

// Sink is a Loki. It has one caller at a time and no goroutines of its own.
type Sink struct {
	cfg    Config
	log    *slog.Logger
	client *httpsink.Client
	header http.Header
	static record.Labels

	streams streams
	size    sizer
	age     age
	push    wire.Push
	body    []byte
	warned  bool // of metadata that Loki does not take

	// Of the Send that is under way.
	views    []record.View
	groups   []*group
	settled  [][]ref
	rejected []sink.Rejection
	resume   progress
}

// New returns a sink; it connects with the first Send. The files that cfg names must
// be readable.
func New(cfg Config, deps sink.Deps) (*Sink, error) {
	if err := cfg.validateAll(); err != nil {
		return nil, fmt.Errorf("loki sink %q: %w", deps.Name, err)
	}
	target, err := endpoint(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("loki sink %q: url: %w", deps.Name, err)
	}
	client, err := httpsink.New(target, httpsink.Options{
		Auth: cfg.Auth, TLS: cfg.TLS, Timeout: cfg.Timeout.Std(), UserAgent: deps.UserAgent,
	})
	if err != nil {
		return nil, fmt.Errorf("loki sink %q: %w", deps.Name, err)
	}
	s := &Sink{
		cfg: cfg, log: deps.Log, client: client,
		header: http.Header{
			"Content-Type":     {"application/x-protobuf"},
			"Content-Encoding": {"snappy"},
		},
		size: sizer{configured: cfg.MaxRequestBytes.Int()},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Tenant != "" {
		s.header.Set("X-Scope-OrgID", cfg.Tenant)
	}
	for name, value := range cfg.Labels {
		s.static = append(s.static, record.Label{Name: name, Value: value})
	}
	return s, nil
}

// Connections are those that are open to Loki.
func (s *Sink) Connections() *ledger.Account { return s.client.Connections() }

// Endpoint is the URL that is pushed to, without secrets.
func (s *Sink) Endpoint() string { return s.client.URL() }

// Send delivers the views as the contract says. Entries of one stream are sent in the
// order of the views. Its errors name the operation, the URL without credentials, what
// Loki said and what to do.
func (s *Sink) Send(ctx context.Context, views []record.View) error {
	s.plan(ctx, views)
	err := s.deliver(ctx)
	if err != nil {
		s.remember()
	} else {
		s.resume = progress{}
	}
	rejected := s.rejected
	s.release()
	if err != nil {
		return err
	}
	if len(rejected) > 0 {
		slices.SortFunc(rejected, func(a, b sink.Rejection) int {
			if a.View != b.View {
				return a.View - b.View
			}
			return a.Entry - b.Entry
		})
		return &sink.RejectedError{Entries: rejected}
	}
	return nil
}

// deliver sends all groups: those that may share a request together, the rest alone.
func (s *Sink) deliver(ctx context.Context) error {
	now := time.Now()
	limit := s.size.limit(now)
	var shared []*group
	size := 0
	for _, g := range s.groups {
		if len(g.refs) == 0 {
			continue
		}
		if !g.stream.sharing.may(now, g.bytes) || g.bytes > limit {
			if err := s.sendAlone(ctx, g); err != nil {
				return err
			}
			continue
		}
		if size > 0 && size+g.bytes > limit {
			if err := s.sendShared(ctx, shared); err != nil {
				return err
			}
			shared, size = shared[:0], 0
		}
		shared = append(shared, g)
		size += g.bytes
	}
	return s.sendShared(ctx, shared)
}

// sendShared sends several streams in one request. When Loki has anything to say about
// it, they are sent in halves until the answer tells which one it is about; Loki ignores
// what it has already. What the ingester says may hide what it refused of others, so
// then each goes alone.
func (s *Sink) sendShared(ctx context.Context, groups []*group) error {
	switch len(groups) {
	case 0:
		return nil
	case 1:
		return s.sendAlone(ctx, groups[0])
	}
	s.push.Reset()
	for _, g := range groups {
		s.encode(g.stream, g.refs)
	}
	result, err := s.post(ctx)
	if err != nil {
		if result.perStream {
			for _, g := range groups {
				g.stream.sharing.refused()
			}
		}
		return err
	}
	switch {
	case result.verdict == accepted:
		for _, g := range groups {
			s.settled = append(s.settled, g.refs)
		}
		return nil
	case result.verdict == refused && !parse(result.answer.Body, result.answer.Cut).fromIngester:
		return s.sharedHalves(ctx, groups, true)
	case result.verdict == tooLarge:
		return s.sharedHalves(ctx, groups, false)
	}
	for _, g := range groups {
		if err := s.sendAlone(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// sharedHalves is halves for streams.
func (s *Sink) sharedHalves(ctx context.Context, groups []*group, someRefused bool) error {
	before, at := len(s.rejected), len(groups)/2
	if err := s.sendShared(ctx, groups[:at]); err != nil {
		return err
	}
	second := groups[at:]
	if someRefused && len(second) > 1 && len(s.rejected) == before {
		return s.sharedHalves(ctx, second, true)
	}
	return s.sendShared(ctx, second)
}

// sendAlone sends one stream, in parts of at most the request size.
func (s *Sink) sendAlone(ctx context.Context, g *group) error {
	before := len(s.rejected)
	for refs := g.refs; len(refs) > 0; {
		n := s.fit(refs, s.size.limit(time.Now()))
		if err := s.settle(ctx, g.stream, refs[:n], &streak{}); err != nil {
			return err
		}
		refs = refs[n:]
	}
	if len(s.rejected) > before {
		g.stream.sharing.refused()
	} else {
		g.stream.sharing.proved(time.Now())
	}
	return nil
}

// Close frees the connection.
func (s *Sink) Close() error {
	s.client.Close()
	return nil
}

// release lets go of the caller's views and of buffers that a rare Send made large.
func (s *Sink) release() {
	s.views, s.rejected = nil, nil
	kept := 0
	for _, g := range s.groups[:cap(s.groups)] {
		if g == nil {
			break
		}
		if kept += cap(g.refs); kept > keptRefs {
			g.refs = nil
		}
		clear(g.refs[:cap(g.refs)])
		if g.stream != nil {
			g.stream.group, g.stream = nil, nil
		}
	}
	clear(s.settled)
	s.settled = s.settled[:0]
	if s.push.Cap() > keptBuffer {
		s.push = wire.Push{}
	}
	if cap(s.body) > keptBuffer {
		s.body = nil
	}
}
