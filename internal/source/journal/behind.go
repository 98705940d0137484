package journal

import (
	"bufio"
	"context"
	"time"

	"github.com/logcapturer/log_capturer/internal/source"
)

const (
	// behind is how old entries are when they are given out by a reader that is held up.
	behind = 30 * time.Second
	// lookInterval is how often such a reader looks whether the journal still has its place.
	lookInterval = 10 * time.Second
	// lookTime bounds a look.
	lookTime = 5 * time.Second
)

// look tells of a gap when the journal does not have the entry any more at which a reader is
// that is far behind. A child that follows goes on silently when files were vacuumed away
// that it had not come to. It is told once, until the place is there again.
func (r *Reader) look(ctx context.Context) {
	now := time.Now()
	if len(r.at) == 0 || !r.known || now.Sub(r.looked) < lookInterval || now.UnixNano()-r.clock.Last < int64(r.behind) {
		return
	}
	r.looked = now
	c, err := startChild(ctx, r.opener.Command, r.opener.Choice.args(r.at, 0, false), &r.opener.Stats.Children)
	if err != nil {
		return // as the child that follows will tell
	}
	defer c.close() //nolint:errcheck // it is killed, which is an error
	_ = c.out.SetReadDeadline(now.Add(lookTime))
	defer context.AfterFunc(ctx, c.interrupt)()
	var e entry
	x := exported{r: bufio.NewReader(c.out), maxLine: 1}
	switch err := x.next(&e); {
	case err == nil && sameEntry(e.cursor, r.at):
		r.told = false
	case (err == nil || endOf(err) == errEnded) && !r.told: //nolint:errorlint // endOf's own
		r.told = true
		r.Add(source.LostGap, 1)
	}
}
