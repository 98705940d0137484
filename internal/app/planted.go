//go:build plantedleaks

package app

import (
	"context"
	"os"
	"time"

	"github.com/logcapturer/log_capturer/internal/canary"
	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/task"
)

// plantedBytes is what the leaks of memory lose each time: 1 MiB a second.
const plantedBytes = 512 << 10

// The leaks that task.Planted asks for. Each belongs to a component, ends when that is
// switched off, and begins again with it; those of sinks are in package dispatch.

func plantContainers(scope *task.Scope, engine *docker.Client, p *pool.Pool) {
	readers, n := scope.Child("readers"), 0
	task.Plant(scope, scope.Context(), "unclosed_stream", func() {
		if n++; n%4 != 0 { // each takes one of the host's inotify instances, which are few
			return
		}
		for _, s := range p.Statuses() {
			readers.Go("stream", func(ctx context.Context) {
				_, _ = engine.Logs(ctx, s.ID, docker.LogOptions{Follow: true, Tail: 1}) //nolint:bodyclose // this is the leak
			})
			return
		}
	})
}

func plantFiles(scope *task.Scope, found *discover.Files, p *pool.Pool, stats *file.Stats) {
	task.Plant(scope, scope.Context(), "forgotten_ticker", func() {
		_ = ledger.NewTicker(scope.Context(), &p.Tickers, time.Hour)
	})
	seen := map[string][]byte{}
	task.Plant(scope, scope.Context(), "growing_map", func() { found.Hoard(seen, plantedBytes) })
	var held []*tail.Log
	task.Plant(scope, scope.Context(), "held_descriptor", func() {
		path, _ := os.Executable() // a file that is there
		log := tail.NewLog(path, tail.Options{Open: &stats.Descriptors})
		_, _ = log.Look()
		held = append(held, log)
	})
	n := 0
	task.Plant(scope, scope.Context(), "orphan", func() { n++; p.Orphan(n) })
}

func plantCanary(scope *task.Scope, c *canary.Canary, forever *task.Scope) {
	task.Plant(scope, scope.Context(), "uncancelled_context", func() { c.ForgetCancel(forever.Context(), plantedBytes) })
}
