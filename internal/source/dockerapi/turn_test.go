package dockerapi

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
)

type turning struct {
	t     *testing.T
	start time.Time
	asked int
	mu    sync.Mutex
	ended map[int]time.Duration
}

func (e *turning) Logs(ctx context.Context, _ string, o docker.LogOptions) (io.ReadCloser, error) {
	n := e.asked
	e.asked++
	pr, pw := io.Pipe()
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ended[n] = time.Since(e.start)
		pw.CloseWithError(ctx.Err())
	})
	if n == 0 {
		go func() {
			for i := 0; ; i++ {
				if _, err := pw.Write(muxFrame(stored{0, noon + int64(i)*1_000_001_001, fmt.Sprint("l", i, "\n")})); err != nil {
					return
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	return pr, nil // a successor says nothing
}

// A successor that says nothing is given up, and the stream goes on.
func TestAStreamGoesOnWhenItsSuccessorSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &turning{t: t, start: time.Now(), ended: map[int]time.Duration{}}
		o := testOpener(e)
		o.Turns = NewTurns(time.Minute)
		rd, _ := o.Open(t.Context(), testTarget(), position.Cursor{})
		r := rd.(*Reader)
		defer r.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		for {
			b, err := r.Next(ctx)
			if err != nil {
				break
			}
			b.Done(record.Delivered)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if at, ended := e.ended[0]; ended && at < 85*time.Second {
			t.Errorf("the old stream, which brings a line a second, was ended at %v", at)
		}
	})
}
