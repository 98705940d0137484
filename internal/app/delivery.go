package app

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/dispatch"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/localfile"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
	"github.com/logcapturer/log_capturer/internal/spool"
)

func sinkNames(s Sinks) []string { return slices.Sorted(maps.Keys(s)) }

// newSink is the table of what builds the sinks.
func newSink(s Sink, deps sink.Deps) (built sink.Sink, err error) {
	switch c := s.Settings.(type) {
	case *loki.Config:
		built, err = loki.New(*c, deps)
	case *localfile.Config:
		built, err = localfile.New(*c, deps)
	default:
		err = fmt.Errorf("there is no sink of type %q", s.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("build sink %s: %w", deps.Name, err)
	}
	return built, nil
}

func (a *agent) sinkDeps(name string) sink.Deps {
	return sink.Deps{
		Name: name, Log: a.log.With("sink", name), DataDir: a.cfg.DataDir, UserAgent: "log_capturer/" + a.info.Version,
	}
}

// buildDelivery makes the sinks and the way to them.
func (a *agent) buildDelivery() error {
	var lanes []*dispatch.Lane
	for _, name := range sinkNames(a.cfg.Sinks) {
		lane, err := a.buildLane(name, a.cfg, share(a.cfg))
		if err != nil {
			a.dispatcher = dispatch.New(lanes, a.cfg.Dispatcher.RateLimit, a.metrics, a.log) // to be closed
			return err
		}
		lanes = append(lanes, lane)
	}
	a.dispatcher = dispatch.New(lanes, a.cfg.Dispatcher.RateLimit, a.metrics, a.log)
	return a.openOffice()
}

// share is each lane's share of the memory. A quarter is left for what readers are filling,
// and for streams.
func share(c Config) int64 { return int64(c.Dispatcher.Memory) * 3 / 4 / int64(len(c.Sinks)) }

func (a *agent) buildLane(name string, cfg Config, memory int64) (*dispatch.Lane, error) {
	s, err := newSink(cfg.Sinks[name], a.sinkDeps(name))
	if err != nil {
		return nil, err
	}
	sp, err := spool.Open(filepath.Join(a.cfg.DataDir, "spool", name), int64(cfg.Dispatcher.Spool.MaxBytes), spool.Options{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sink %s: %w", name, err), s.Close())
	}
	caps := capsOf(cfg)
	dead, err := deadletter.Open(a.cfg.DataDir, name, caps.MaxBytes, deadletter.Options{MaxAge: caps.MaxAge})
	if err != nil {
		return nil, errors.Join(err, sp.Close(), s.Close())
	}
	return dispatch.NewLane(dispatch.LaneDeps{
		Name: name, Sink: s, Spool: sp, Dead: dead, Config: cfg.Dispatcher, Memory: memory,
		Delivery: cfg.Sinks[name].Delivery(),
		Arrived:  a.canary.Arrived,
		Metrics:  a.metrics, Board: a.board, Log: a.log,
	}), nil
}
