// Package office is what people do with dead letters: list them, look at them, send them
// again, and throw them away. The agent's API and the command line use the same Office;
// a Remote is the Office of an agent that runs.
//
// An Office owns the dead letters of sinks that are not configured any more, which it
// finds in the data directory; those of the others belong to who made their Box. It
// promises that a letter is in its file until the sink has accepted it, and that letters
// that come in meanwhile stay.
package office

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/task"
)

// Desk is what an Office does; a Remote does it through the API. Errors that are the
// caller's mistake are ErrUnknown, ErrFilter or ErrBusy.
type Desk interface {
	// List counts the letters that match.
	List(ctx context.Context, f Filter) (Listing, error)
	// Show returns the first letters that match, in the order in which they were written
	// for each sink.
	Show(ctx context.Context, f Filter, limit int) (Shown, error)
	// Replay sends the letters that match to their sinks again. What a sink does not take
	// is told in the result and is no error.
	Replay(ctx context.Context, f Filter, dryRun bool) (Replayed, error)
	// Purge removes the letters that match.
	Purge(ctx context.Context, f Filter, dryRun bool) (Purged, error)
}

// What a caller can do wrong.
var (
	ErrUnknown = errors.New("no such sink")
	ErrFilter  = errors.New("not understood")
	ErrBusy    = errors.New("letters are being sent or removed already; try again when that has ended")
)

// Damaged is the reason of lines that are no letters. They are listed and can be removed.
const Damaged = "damaged"

// Listing is sorted by sink and reason.
type Listing struct {
	Groups []Group `json:"groups"`
}

// Shown are letters as they are in their files.
type Shown struct {
	Entries []json.RawMessage `json:"entries"`
	// More tells that there are more than were asked for.
	More bool `json:"more"`
}

// Purged is what was removed, or would be.
type Purged struct {
	DryRun bool    `json:"dry_run"`
	Groups []Group `json:"groups"`
}

// Box is the dead letters of one sink.
type Box struct {
	Name    string
	Letters *deadletter.Writer
	// Send sends views to the sink and returns what sink.Sink says. It is called by one
	// goroutine at a time. Without it there is no such sink any more.
	Send func(ctx context.Context, views []record.View) error

	accepted, refused, purged atomic.Int64
}

// Counts are what was done with a box's letters since the Office was opened.
type Counts struct{ Accepted, Refused, Purged int64 }

// Counts returns the numbers of the moment.
func (b *Box) Counts() Counts {
	return Counts{b.accepted.Load(), b.refused.Load(), b.purged.Load()}
}

// Office is the dead letters of all sinks. It is safe for concurrent use.
type Office struct {
	dataDir string
	change  sync.Mutex    // held while letters are sent or removed
	read    chan struct{} // held while letters are listed or shown: that costs processor time
	chunk   int           // chunkBytes
	log     *slog.Logger

	mu    sync.Mutex
	caps  Caps
	boxes []*Box // by name
	owned []*Box
}

var _ Desk = (*Office)(nil)

// Caps are for the letters of sinks that have no box; see deadletter.Open.
type Caps struct {
	MaxBytes int64
	MaxAge   time.Duration
}

// Open returns the office of a data directory with the boxes of the sinks that there
// are. Those stay the caller's, and must be open until Close.
func Open(dataDir string, caps Caps, boxes []*Box, log *slog.Logger) (*Office, error) {
	o := &Office{dataDir: dataDir, read: make(chan struct{}, 1), chunk: chunkBytes, log: log}
	o.caps = caps
	return o, o.fill(boxes)
}

// fill makes boxes those of the office, with all that have no sink. mu is held.
func (o *Office) fill(boxes []*Box) error {
	o.boxes, o.owned = slices.Clone(boxes), nil
	entries, err := os.ReadDir(filepath.Join(o.dataDir, deadletter.Dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for dead letters: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || named(o.boxes, entry.Name()) != nil {
			continue
		}
		w, err := deadletter.Open(o.dataDir, entry.Name(), o.caps.MaxBytes, deadletter.Options{MaxAge: o.caps.MaxAge})
		if err != nil {
			o.log.Warn("dead letters of a sink that is not configured cannot be read; they are left alone", "error", err)
			continue
		}
		b := &Box{Name: entry.Name(), Letters: w}
		o.boxes, o.owned = append(o.boxes, b), append(o.owned, b)
	}
	slices.SortFunc(o.boxes, func(a, b *Box) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// Change has change called while nobody uses any letters, and boxes then, which returns
// those of the sinks that there are afterwards. It says ErrBusy while letters are sent or
// removed, else what change says.
func (o *Office) Change(change func() error, boxes func() []*Box) error {
	if !o.change.TryLock() {
		return ErrBusy
	}
	defer o.change.Unlock()
	o.read <- struct{}{} // a listing is bounded by the letters' cap
	defer func() { <-o.read }()
	closed := o.Close() // one of them may get a sink again
	err := change()
	o.mu.Lock()
	defer o.mu.Unlock()
	if odd := errors.Join(closed, o.fill(boxes())); odd != nil {
		o.log.Warn("dead letters of sinks that are not configured may be missing", "error", odd)
	}
	return err
}

// SetCaps changes the caps.
func (o *Office) SetCaps(caps Caps) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.caps = caps
	for _, b := range o.owned {
		b.Letters.SetCaps(caps.MaxBytes, caps.MaxAge)
	}
}

// Close closes what the office owns. A Replay or Purge that runs fails.
func (o *Office) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, b := range o.owned {
		errs = append(errs, b.Letters.Close())
	}
	return errors.Join(errs...)
}

// Boxes returns the boxes, for their figures.
func (o *Office) Boxes() []*Box {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.boxes)
}

// expireEvery is how often letters that are too old are looked for.
const expireEvery = time.Minute

// Run removes letters that are too old, until ctx ends.
func (o *Office) Run(ctx context.Context) {
	for {
		for _, b := range o.Boxes() {
			if err := b.Letters.Expire(); err != nil {
				o.log.Warn("dead letters stay although they are too old; trying again", "error", err)
			}
		}
		if !task.Sleep(ctx, expireEvery) {
			return
		}
	}
}

func named(boxes []*Box, name string) *Box {
	for _, b := range boxes {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// chosen returns the boxes of a filter.
func (o *Office) chosen(f Filter) ([]*Box, error) {
	if err := f.Check(); err != nil {
		return nil, err
	}
	boxes := o.Boxes()
	if f.Sink == "" {
		return boxes, nil
	}
	if b := named(boxes, f.Sink); b != nil {
		return []*Box{b}, nil
	}
	var names []string
	for _, b := range boxes {
		names = append(names, b.Name)
	}
	return nil, fmt.Errorf("sink %q: %w; there are %s", f.Sink, ErrUnknown, strings.Join(names, ", "))
}

// wait waits for o.read.
func (o *Office) wait(ctx context.Context) error {
	select {
	case o.read <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List implements Desk.
func (o *Office) List(ctx context.Context, f Filter) (Listing, error) {
	if err := o.wait(ctx); err != nil {
		return Listing{}, err
	}
	defer func() { <-o.read }()
	boxes, err := o.chosen(f)
	if err != nil {
		return Listing{}, err
	}
	sums := groups{}
	for _, b := range boxes {
		err := b.Letters.Each(func(line []byte) bool {
			if l, ok := f.parse(line); ok {
				sums.add(b.Name, &l, len(line)+1)
			}
			return ctx.Err() == nil
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return Listing{}, err
		}
	}
	return Listing{sums.sorted()}, nil
}

// Show implements Desk.
func (o *Office) Show(ctx context.Context, f Filter, limit int) (Shown, error) {
	if err := o.wait(ctx); err != nil {
		return Shown{}, err
	}
	defer func() { <-o.read }()
	boxes, err := o.chosen(f)
	if err != nil {
		return Shown{}, err
	}
	shown := Shown{Entries: []json.RawMessage{}}
	for _, b := range boxes {
		err := b.Letters.Each(func(line []byte) bool {
			l, ok := f.parse(line)
			if !ok || l.Line == nil {
				return ctx.Err() == nil
			}
			if len(shown.Entries) == limit {
				shown.More = true
				return false
			}
			shown.Entries = append(shown.Entries, json.RawMessage(trim(l.Append(nil))))
			return true
		})
		if err := errors.Join(err, ctx.Err()); err != nil {
			return Shown{}, err
		}
		if shown.More {
			break
		}
	}
	return shown, nil
}

// Purge implements Desk.
func (o *Office) Purge(ctx context.Context, f Filter, dryRun bool) (Purged, error) {
	if dryRun {
		listing, err := o.List(ctx, f)
		if err != nil {
			return Purged{}, err
		}
		return Purged{true, listing.Groups}, nil
	}
	if !o.change.TryLock() {
		return Purged{}, ErrBusy
	}
	defer o.change.Unlock()
	boxes, err := o.chosen(f)
	if err != nil {
		return Purged{}, err
	}
	sums := groups{}
	for _, b := range boxes {
		if err := purge(ctx, b, f, sums); err != nil {
			return Purged{}, err
		}
	}
	done := Purged{Groups: sums.sorted()}
	o.log.Info("dead letters were removed by hand", "groups", len(done.Groups), "filter", f)
	return done, nil
}

func purge(ctx context.Context, b *Box, f Filter, sums groups) error {
	ids, err := b.Letters.Seal()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		edit := b.Letters.Edit(id)
		if edit == nil {
			continue
		}
		gone := groups{}
		err := edit.Rewrite(func(_ int, line []byte) []byte {
			l, ok := f.parse(line)
			if !ok {
				return line
			}
			gone.add(b.Name, &l, len(line)+1)
			return nil
		})
		edit.Close()
		if err != nil {
			return err
		}
		b.purged.Add(sums.merge(gone))
	}
	return nil
}

func trim(line []byte) []byte { return line[:len(line)-1] }
