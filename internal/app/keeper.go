package app

import (
	"context"
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/health"
	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/tail"
	"github.com/logcapturer/log_capturer/internal/units"
)

const (
	// keepInterval is how often held files are looked at that may have lost their names.
	keepInterval = 2 * time.Second
	// letGoShows is for how long health tells that something was let go.
	letGoShows = 10 * time.Minute
	// heldShare is the share of the process's descriptors that held files may take: one in so many.
	heldShare = 20
	leastHeld = 8
)

// keeper bounds the rotated-away files of a monitor that are held.
type keeper struct {
	*tail.Keeper
	monitor string
	grown   chan struct{}
	also    func() // is called as often
	// tickers are those that run.
	tickers *ledger.Account
}

func (a *agent) newKeeper(monitor string, maxBytes units.Size, also func()) keeper {
	k := keeper{&tail.Keeper{MaxBytes: int64(maxBytes)}, monitor, make(chan struct{}, 1), also, new(ledger.Account)}
	if limit := descriptorLimit(); limit > 0 {
		k.MaxFiles = max(leastHeld, int(min(limit/heldShare, 1<<20)))
	}
	k.Grown = func() { // letting go reads the file: not in the goroutine of who found it
		select {
		case k.grown <- struct{}{}:
		default:
		}
	}
	a.keepers = append(a.keepers, k)
	return k
}

func (k keeper) run(ctx context.Context) {
	tick := ledger.NewTicker(ctx, k.tickers, keepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.grown:
		case <-tick.C:
			k.also()
		}
		k.Enforce()
	}
}

// reportHeld tells health whether something had to be let go.
func (a *agent) reportHeld() {
	status, reason := health.Healthy, ""
	for _, k := range a.keepers {
		if last := k.LastLetGo(); last.IsZero() || time.Since(last) >= letGoShows {
			continue
		}
		_, bytes := k.Held()
		generations, lines := k.LetGo()
		status, reason = health.Degraded, fmt.Sprintf(
			"%d rotated-away files were let go unread, %d lines are lost; %s are held, of %s: deliver faster, or raise %s.held.max_bytes",
			generations, lines, units.Size(bytes), units.Size(k.Bound()), k.monitor)
	}
	a.board.Set("held_files", status, reason)
}

// heldMetrics are those of a keeper, whose names begin with prefix.
func (a *agent) heldMetrics(prefix, files string, k keeper) {
	a.one(gauge, prefix+"_held_files", "Rotated-away "+files+" that are held open until they are read.", func() float64 { n, _ := k.Held(); return float64(n) })
	a.one(gauge, prefix+"_held_bytes", "Disk space that only the agent's descriptors of removed "+files+" keep.", func() float64 { _, n := k.Held(); return float64(n) })
	a.one(gauge, prefix+"_held_max_bytes", "The most of that: "+k.monitor+".held.max_bytes.", func() float64 { return float64(k.Bound()) })
}
