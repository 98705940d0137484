package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
)

// ledger is a journal in memory, and what another one held.
type ledger struct {
	read, acked, saved map[int]int64
	sent               map[string]int
	hurt               int64 // unix ms of the first time that health was not well
}

func newLedger() *ledger {
	return &ledger{read: map[int]int64{}, acked: map[int]int64{}, saved: map[int]int64{}, sent: map[string]int{}}
}

func (l *ledger) add(k kind, source int, n int64) {
	switch k {
	case wasRead:
		l.read[source] = max(l.read[source], n)
	case wasAcked:
		l.acked[source] = max(l.acked[source], n)
	case wasSaved:
		l.saved[source] = max(l.saved[source], n)
	case wasSent:
		l.sent[text(source, n)]++
	case wasHurt:
		if l.hurt == 0 {
			l.hurt = n
		}
	}
}

// nobody is a journal for those who need none.
type nobody struct{}

func (nobody) note(kind, int, int64) {}

// verdict is what is left after a fault.
type verdict struct {
	lines    int64 // acknowledged before the fault
	lost     int64 // of them
	missing  int64 // of all lines, when every source was read to its end
	repeated int64
	bound    int64 // repeated lines that can be explained: batches in flight and not saved
	counted  int64 // lines that the spool says are lost
	up       time.Duration
}

// judge starts a rig on what a fault left in dir, delivers what is there, then reads the
// sources to their ends, and compares with the ledger of the time before. An error means
// that the rig did not start, delivered a damaged line, or moved a position wrongly.
func judge(dir string, before *ledger, sources int, lines int64) (v verdict, err error) {
	start := time.Now()
	r, err := openRig(dir, nobody{}, options{sources: sources, lines: lines})
	if err != nil {
		return v, fmt.Errorf("it does not start: %w", err)
	}
	v.up = time.Since(start)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := false
	defer func() {
		if !ended {
			_ = r.end(ctx)
		}
	}()
	v.counted = r.lane.Stats().Damage.LostLines
	if err := eventually("the spool to be delivered", func() bool {
		s := r.lane.Stats()
		return s.SpoolLines == 0 && s.MemoryLines == 0
	}); err != nil {
		return v, err
	}
	v.bound = 2 * leaseBytes / int64(len(text(0, 0))) // a lease that was sent and not acknowledged
	for _, o := range r.sources {
		cursor := o.next
		if cursor > before.acked[o.index] || cursor < before.saved[o.index] {
			return v, fmt.Errorf("source %d goes on at %d; acknowledged were %d, saved %d", o.index, cursor, before.acked[o.index], before.saved[o.index])
		}
		v.bound += before.read[o.index] - cursor
	}
	v.lines, v.lost, _, err = r.count(dir, before, func(source int) int64 { return before.acked[source] })
	if err != nil {
		return v, err
	}
	if err := r.load(ctx); err != nil {
		return v, fmt.Errorf("read to the end: %w", err)
	}
	ended = true
	if err := r.end(ctx); err != nil {
		return v, fmt.Errorf("end: %w", err)
	}
	_, v.missing, v.repeated, err = r.count(dir, before, func(int) int64 { return lines })
	return v, err
}

// count compares what arrived, here or before, with the lines below end of each source.
func (r *rig) count(dir string, before *ledger, end func(int) int64) (lines, lost, repeated int64, err error) {
	seen, err := deadTexts(dir)
	if err != nil {
		return 0, 0, 0, err
	}
	r.sink.mu.Lock()
	defer r.sink.mu.Unlock()
	if len(r.sink.corrupt) > 0 {
		return 0, 0, 0, fmt.Errorf("%d damaged lines were delivered; the first: %q", len(r.sink.corrupt), r.sink.corrupt[0])
	}
	for _, arrived := range []map[string]int{before.sent, r.sink.got} {
		for text, n := range arrived {
			seen[text] += n
		}
	}
	for _, o := range r.sources {
		for n := range end(o.index) {
			lines++
			if seen[text(o.index, n)] == 0 {
				lost++
			}
		}
	}
	for _, n := range seen {
		repeated += int64(n - 1)
	}
	return lines, lost, repeated, nil
}

// deadTexts returns the lines among the dead letters, with how often they are there.
func deadTexts(dir string) (map[string]int, error) {
	out := map[string]int{}
	names, err := filepath.Glob(filepath.Join(dir, deadletter.Dir, sinkName, "*.ndjson"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			var letter struct {
				Line string `json:"line"`
			}
			if err := json.Unmarshal(lines.Bytes(), &letter); err != nil {
				return nil, fmt.Errorf("dead letters %s: %w in %q", filepath.Base(name), err, lines.Bytes())
			}
			if _, _, ok := lineOf(letter.Line); !ok {
				return nil, fmt.Errorf("dead letters %s: a damaged line %q", filepath.Base(name), letter.Line)
			}
			out[letter.Line]++
		}
	}
	return out, nil
}
