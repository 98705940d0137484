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

// keeper bounds the rotated-away json-files that are held.
type keeper struct {
	*tail.Keeper
	grown chan struct{}
	also  func() // is called as often
	// tickers are those that run.
	tickers *ledger.Account
}

func (a *agent) newKeeper(maxBytes int64, also func()) keeper {
	k := keeper{&tail.Keeper{MaxBytes: maxBytes}, make(chan struct{}, 1), also, new(ledger.Account)}
	if limit := descriptorLimit(); limit > 0 {
		k.MaxFiles = max(leastHeld, int(min(limit/heldShare, 1<<20)))
	}
	k.Grown = func() { // letting go reads the file: not in the goroutine of who found it
		select {
		case k.grown <- struct{}{}:
		default:
		}
	}
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

// report tells health what is held, and whether something had to be let go.
func (k keeper) report(board *health.Board) func() {
	return func() {
		_, bytes := k.Held()
		generations, lines := k.LetGo()
		if last := k.LastLetGo(); !last.IsZero() && time.Since(last) < letGoShows {
			board.Set("held_files", health.Degraded, fmt.Sprintf(
				"%d rotated-away json-files were let go unread, %d lines are lost; %s are held, of %s: deliver faster, or raise container_monitor.held.max_bytes",
				generations, lines, units.Size(bytes), units.Size(k.Bound())))
			return
		}
		board.Set("held_files", health.Healthy, "")
	}
}
