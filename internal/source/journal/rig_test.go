package journal

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// patience is how long a test waits for what is to come.
const patience = 30 * time.Second

// rig is an opener, and what was read with it.
type rig struct {
	*Opener
	t      *testing.T
	since  time.Time
	reader *Reader
	at     position.Cursor // behind the last batch
	got    []got
	lost   int64
}

type got struct {
	text     string
	time     int64
	cut      bool
	labels   string
	metadata record.Labels
}

func newRig(t *testing.T, choice Choice) *rig {
	t.Helper()
	if choice.Priority == 0 {
		choice.Priority = Least
	}
	r := &rig{t: t, Opener: &Opener{
		Pool: record.NewPool(64 << 20), Command: "journalctl", Choice: choice, Labels: []string{LabelUnit, LabelLevel},
		MaxLine: 64 << 10, Stats: &Stats{},
	}}
	t.Cleanup(func() {
		r.close()
		if n := r.Stats.Children.Load(); n != 0 {
			t.Errorf("%d children are left", n)
		}
		if n := r.Pool.Used(); n != 0 {
			t.Errorf("%d bytes of batches are not given back", n)
		}
	})
	return r
}

func (r *rig) open() *Reader {
	r.t.Helper()
	if r.reader != nil {
		return r.reader
	}
	base := &record.Source{ID: "journal", Kind: "journal", Name: "journal", CanWait: true}
	base.Streams[record.OutputNone] = record.NewStream(record.Labels{{Name: "job", Value: "systemd-journal"}, {Name: "host", Value: "here"}}, nil)
	opened, err := r.Open(r.t.Context(), source.Target{Source: base, Mode: source.Stream, Since: r.since}, r.at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.reader = opened.(*Reader)
	return r.reader
}

// close ends the reader; the next one goes on where the store on disk says.
func (r *rig) close() {
	if r.reader == nil {
		return
	}
	r.reader.Close()
	r.reader = nil
	var again position.Cursor
	text, err := json.Marshal(r.at)
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil {
		r.t.Error(err)
	}
	r.at = again
}

// step reads a batch, and tells of an error of the reader's.
func (r *rig) step(ctx context.Context) error {
	reader := r.open()
	b, err := reader.Next(ctx)
	for _, l := range reader.TakeLosses() {
		r.lost += l.Lines
	}
	if err == nil || errors.Is(err, source.ErrIdle) {
		r.at = reader.Cursor()
	}
	if err != nil {
		return err
	}
	s := b.Source.Streams[record.OutputNone]
	for i := range b.Entries {
		e := &b.Entries[i]
		r.got = append(r.got, got{string(b.Line(i)), e.Time, e.Flags&record.Truncated != 0, s.Key, s.Metadata})
	}
	b.Done(record.Delivered)
	return nil
}

// read reads until there are n entries in all.
func (r *rig) read(n int) []got {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for len(r.got) < n {
		if err := r.step(ctx); err != nil && !errors.Is(err, source.ErrIdle) {
			r.t.Fatalf("%d of %d entries were read: %v", len(r.got), n, err)
		}
	}
	return r.got
}

// quiet reads what is there, and fails when there is more than n entries in all.
func (r *rig) quiet(n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 300*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		if err := r.step(ctx); err != nil && !errors.Is(err, source.ErrIdle) && ctx.Err() == nil {
			r.t.Fatal(err)
		}
	}
	if len(r.got) > n {
		r.t.Fatalf("there are %d entries instead of %d: %v", len(r.got), n, r.got[n:min(len(r.got), n+5)])
	}
}
