package ledger

import (
	"context"
	"time"
)

// Ticker is a time.Ticker that an account knows of. Who makes it stops it.
type Ticker struct {
	*time.Ticker
	held *Holding
}

// NewTicker starts a ticker.
func NewTicker(ctx context.Context, a *Account, d time.Duration) *Ticker {
	t := &Ticker{Ticker: time.NewTicker(d)}
	t.held = Open(OwnerOf(ctx), a, t)
	return t
}

// Stop ends it.
func (t *Ticker) Stop() {
	t.held.Close()
	t.Ticker.Stop()
}
