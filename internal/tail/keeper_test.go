package tail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// want holds what a Keeper counted, and that its sum is the reader's.
func (r *reading) want(k *Keeper, generations int, lines int64) {
	r.t.Helper()
	g, n := r.tailer.TakeLetGo()
	r.lost += n
	if g != generations || n != lines {
		r.t.Errorf("%d generations with %d lines let go, want %d with %d", g, n, generations, lines)
	}
	if g, n := k.LetGo(); g != int64(generations) || n != lines {
		r.t.Errorf("the keeper counted %d generations with %d lines, want %d with %d", g, n, generations, lines)
	}
	if generations > 0 && time.Since(k.LastLetGo()) > time.Minute || generations == 0 && !k.LastLetGo().IsZero() {
		r.t.Errorf("last let go at %v", k.LastLetGo())
	}
}

func TestAStalledReaderHoldsNoMoreBytesThanAllowed(t *testing.T) {
	const lines, most = 100, 5 * 100 * lineSize
	var open ledger.Account
	k := &Keeper{MaxBytes: most}
	w := newWriter(t, 2)
	w.write(lines)
	r := read(t, w, k, &open)
	if err := r.next(30); err != nil { // and then it stalls
		t.Fatal(err)
	}
	for range 20 {
		w.rotate(lines)
		r.look()
		if files, bytes := k.Held(); bytes > most || files > 6 {
			t.Fatalf("%d files with %d bytes held", files, bytes)
		}
		if bytes := deletedBytes(t, filepath.Dir(w.path)); bytes > most {
			t.Fatalf("%d bytes of disk that nobody else holds", bytes)
		}
	}
	// 21 generations: 5 without a name are kept, .1 and the newest have theirs.
	r.want(k, 14, 14*lines-30)
	if n, bytes := r.tailer.Log.HeldBytes(); n != 6 || bytes != most || open.Load() != 7 {
		t.Errorf("%d rotated-away generations with %d bytes, %d descriptors", n, bytes, open.Load())
	}
	r.balance(w)
	if r.gaps != 1 || r.delivered != 7*lines+30 {
		t.Errorf("%d gaps, %d lines delivered", r.gaps, r.delivered)
	}
	r.tailer.Log.Close()
	if open.Load() != 0 || len(k.logs) != 0 {
		t.Errorf("%d descriptors, %d logs after the end", open.Load(), len(k.logs))
	}
}

func TestAStalledReaderHoldsNoMoreFilesThanAllowed(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxFiles: 3}
	w := newWriter(t, 50) // all keep a name: no bytes are held
	w.write(10)
	r := read(t, w, k, &open)
	for range 10 {
		w.rotate(10)
		r.look()
		if files, bytes := k.Held(); files > 3 || bytes != 0 {
			t.Fatalf("%d files with %d bytes held", files, bytes)
		}
	}
	if open.Load() != 4 {
		t.Errorf("%d descriptors", open.Load())
	}
	r.want(k, 7, 70)
	r.balance(w)
}

func TestWhatIsPastTheBoundAtTheStartIsLetGo(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxFiles: 2}
	w := newWriter(t, 50)
	w.write(10)
	for range 5 {
		w.rotate(10)
	}
	r := read(t, w, k, &open)
	r.want(k, 3, 30)
	r.balance(w)
	if r.gaps != 1 {
		t.Errorf("%d gaps", r.gaps)
	}
}

func TestAResumedGenerationIsCountedFromItsCursor(t *testing.T) {
	var open ledger.Account
	w := newWriter(t, 50)
	w.write(10)
	first := read(t, w, nil, &open)
	if err := first.next(4); err != nil {
		t.Fatal(err)
	}
	pos := first.tailer.Pos()
	first.tailer.Log.Close()
	for range 3 {
		w.rotate(10)
	}
	k := &Keeper{MaxFiles: 1}
	log := NewLog(w.path, Options{Keeper: k, Open: &open})
	defer log.Close()
	tailer, found, err := NewTailer(log, &pos, 0)
	if err != nil || !found {
		t.Fatalf("resume: %v, %v", found, err)
	}
	r := &reading{t: t, pool: first.pool, tailer: tailer, last: first.last, delivered: first.delivered}
	r.want(k, 2, 6+10)
	r.balance(w)
}

func TestAQuietLogThatHoldsTheOldestPaysFirst(t *testing.T) {
	const lines, most = 100, 3 * 100 * lineSize
	var open ledger.Account
	k := &Keeper{MaxBytes: most}
	quiet, busy := newWriter(t, 1), newWriter(t, 1)
	quiet.write(lines)
	busy.write(lines)
	q, b := read(t, quiet, k, &open), read(t, busy, k, &open)
	quiet.rotate(5)
	q.look()
	for range 3 {
		busy.rotate(lines)
		b.look()
	}
	q.want(k, 1, lines) // it held the longest
	if g, n := b.tailer.TakeLetGo(); g != 0 || n != 0 {
		t.Errorf("%d generations of the busy one let go", g)
	}
	for range 3 {
		busy.rotate(lines)
		b.look()
	}
	if g, _ := q.tailer.TakeLetGo(); g != 0 || q.tailer.Log.Held() != 1 {
		t.Error("the newest of the quiet one was let go")
	}
	q.balance(quiet)
	b.balance(busy)
	if b.lost != 3*lines {
		t.Errorf("%d lines of the busy one lost", b.lost)
	}
}

func TestAFileThatLosesItsNameLaterIsFoundBySweeping(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 3)
	w.write(10)
	r := read(t, w, k, &open)
	w.rotate(10)
	r.look()
	k.Enforce()
	r.want(k, 0, 0) // it has a name: letting it go would free nothing
	if err := os.Remove(w.path + ".1"); err != nil {
		t.Fatal(err)
	}
	if files, bytes := k.Held(); files != 1 || bytes != 10*lineSize {
		t.Errorf("%d files, %d bytes held", files, bytes)
	}
	k.Enforce()
	r.want(k, 1, 10)
	r.balance(w)
}

func TestAGenerationWhoseWriterMayGoOnIsKept(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 1)
	w.write(10)
	r := read(t, w, k, &open)
	w.rotate(0) // nothing in the new one yet
	r.look()
	r.want(k, 0, 0)
	w.write(1)
	k.Enforce()
	r.want(k, 1, 10)
	r.balance(w)
}

func TestAGenerationReadToItsEndIsNoLoss(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 1)
	w.write(10)
	r := read(t, w, k, &open)
	if err := r.drain(); !errors.Is(err, source.ErrIdle) {
		t.Fatal(err)
	}
	w.rotate(10)
	r.look()
	r.want(k, 0, 0)
	if open.Load() != 1 {
		t.Errorf("%d descriptors, want the newest", open.Load())
	}
	r.balance(w)
	if r.gaps != 0 {
		t.Error("word of a gap where there is none")
	}
}

func TestAnIdleTailerWhoseGenerationWentIsReady(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 1)
	put(t, w.path, "a line without its end")
	r := read(t, w, k, &open)
	if err := r.drain(); !errors.Is(err, source.ErrIdle) {
		t.Fatal(err)
	}
	w.rotate(10)
	r.look()
	if ready, err := r.tailer.Wake(watch(t), func() {}); err != nil || !ready {
		t.Errorf("ready %v, %v", ready, err)
	}
	r.want(k, 1, 0) // a gap, but no newline in it
	r.balance(w)
	if r.gaps != 1 {
		t.Errorf("%d gaps", r.gaps)
	}
}

func TestATailerThatFindsARotationReadsOnThoughItsGenerationGoesWithThat(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 1)
	put(t, w.path, "a line without its end")
	r := read(t, w, k, &open)
	if err := r.drain(); !errors.Is(err, source.ErrIdle) {
		t.Fatal(err)
	}
	w.rotate(10)
	if err := r.next(1); err != nil || r.gaps != 1 {
		t.Errorf("%v, %d gaps; want the first line of the new generation", err, r.gaps)
	}
	r.balance(w)
}

func TestAReaderCannotAdvancePastAGenerationThatItHasNotRead(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxFiles: 2}
	w := newWriter(t, 50)
	w.write(10)
	r := read(t, w, k, &open)
	first := r.tailer.Log.Current()
	for range 3 {
		w.rotate(10)
		r.look()
	}
	if r.tailer.Log.advance(first) || r.tailer.Log.Held() != 3 {
		t.Error("it advanced from a generation that was let go, past the next")
	}
	r.want(k, 1, 10)
	r.balance(w)
}

func TestTextInItsReadersHandsIsReadOrLostNotBoth(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 1}
	w := newWriter(t, 1)
	w.write(10)
	r := read(t, w, k, &open)
	b, _, err := r.tailer.Fill(context.Background(), r.pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.rotate(10)
	r.look()
	w.rotate(10)
	r.look()
	if open.Load() != 2 { // the one in hand, and the newest; not the one between
		t.Errorf("%d descriptors", open.Load())
	}
	for n := range 4 {
		r.line(string(b.Arena[n*lineSize:(n+1)*lineSize-1]), false)
	}
	r.tailer.Consume(4 * lineSize)
	b.Done(record.Delivered)
	if open.Load() != 1 {
		t.Errorf("%d descriptors after it was given back", open.Load())
	}
	r.want(k, 2, 6+10)
	r.balance(w)
	if r.gaps != 1 {
		t.Errorf("%d gaps", r.gaps)
	}
}

func TestALogClosedWithTextInHandLeavesNoDescriptor(t *testing.T) {
	var open ledger.Account
	w := newWriter(t, 1)
	w.write(10)
	r := read(t, w, &Keeper{MaxBytes: 1}, &open)
	b, _, err := r.tailer.Fill(context.Background(), r.pool, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Done(record.Delivered)
	w.rotate(10)
	r.look()
	r.tailer.Log.Close()
	r.tailer.Consume(lineSize)
	if open.Load() != 0 {
		t.Errorf("%d descriptors", open.Load())
	}
	if g, _ := r.tailer.TakeLetGo(); g != 1 {
		t.Errorf("%d generations let go", g)
	}
}

func TestATailerThatWaitsForMemoryGoesOnBehindTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open ledger.Account
		k := &Keeper{MaxBytes: 1}
		w := newWriter(t, 1)
		w.write(10)
		r := read(t, w, k, &open)
		r.pool = record.NewPool(record.SmallArena)
		all, err := r.pool.Get(t.Context(), record.SmallArena)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() { read <- r.next(1) }()
		synctest.Wait() // it has seen the first generation, and waits
		w.rotate(10)
		r.look()
		if open.Load() != 1 {
			t.Errorf("%d descriptors: its generation was not let go", open.Load())
		}
		all.Done(record.Delivered)
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		if r.last != 10 || r.gaps != 1 {
			t.Errorf("line %d, %d gaps", r.last, r.gaps)
		}
		r.want(k, 1, 10)
		r.balance(w)
	})
}

func TestATailerThatReadsWhileItsGenerationsGoLosesNoCount(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxBytes: 3 * 500 * lineSize}
	var writers []*writer
	var readings []*reading
	for range 3 {
		w := newWriter(t, 2)
		w.write(500)
		writers, readings = append(writers, w), append(readings, read(t, w, k, &open))
	}
	written := make(chan struct{})
	done := make(chan struct{})
	turns := make(chan struct{})
	for i, r := range readings {
		turn := turns // the first one reads a little per rotation, and falls behind
		if i > 0 {
			turn = make(chan struct{})
			close(turn)
		}
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-written:
					return
				case <-turn:
				}
				if err := r.next(20); err != nil && !errors.Is(err, source.ErrIdle) {
					t.Error(err)
				}
				r.tailer.Pos()
				_, lost := r.tailer.TakeLetGo()
				r.lost += lost
			}
		}()
	}
	go func() { // the sweep
		defer func() { done <- struct{}{} }()
		for {
			select {
			case <-written:
				return
			default:
				k.Enforce()
				k.Held()
			}
		}
	}()
	for range 60 {
		for i, w := range writers {
			w.rotate(500)
			readings[i].look()
		}
		turns <- struct{}{}
	}
	close(written)
	for range len(readings) + 1 {
		<-done
	}
	var lost int64
	for i, r := range readings {
		r.balance(writers[i])
		lost += r.lost
		r.tailer.Log.Close()
	}
	generations, lines := k.LetGo()
	if lines != lost || generations == 0 {
		t.Errorf("the keeper counted %d lines of %d generations, the readers %d", lines, generations, lost)
	}
	if open.Load() != 0 {
		t.Errorf("%d descriptors after the end", open.Load())
	}
}

func TestLogsThatHoldNothingOldCostNothing(t *testing.T) {
	var open ledger.Account
	k := &Keeper{MaxFiles: 100}
	var rs []*reading
	var ws []*writer
	for range 20 {
		w := newWriter(t, 2)
		w.write(1)
		ws, rs = append(ws, w), append(rs, read(t, w, k, &open))
	}
	if len(k.logs) != 0 {
		t.Errorf("%d logs known that hold nothing old", len(k.logs))
	}
	for i, r := range rs {
		ws[i].rotate(1)
		r.look()
	}
	if files, _ := k.Held(); len(k.logs) != 20 || files != 20 {
		t.Errorf("%d logs known, %d files", len(k.logs), files)
	}
	for _, r := range rs {
		_ = r.drain()
	}
	k.Enforce()
	if len(k.logs) != 0 {
		t.Errorf("%d logs known that hold nothing old any more", len(k.logs))
	}
}

func TestEnforcingMayBeLeftToSomebodyElse(t *testing.T) {
	var open ledger.Account
	grown := 0
	k := &Keeper{MaxFiles: 1, Grown: func() { grown++ }}
	w := newWriter(t, 50)
	w.write(1)
	r := read(t, w, k, &open)
	for range 3 {
		w.rotate(1)
		r.look()
	}
	if files, _ := k.Held(); grown != 3 || files != 3 {
		t.Errorf("told %d times, %d files held", grown, files)
	}
	k.Enforce()
	r.want(k, 2, 2)
	r.balance(w)
}

func TestAClaimedGenerationThatIsLetGoIsDone(t *testing.T) {
	var open ledger.Account
	w := newWriter(t, 50)
	w.write(10)
	r := readWith(t, w, Options{
		Claim: func(position.FileID) (int64, bool) { return 2 * lineSize, true },
		Open:  &open, Keeper: &Keeper{MaxFiles: 1},
	})
	first := r.tailer.Pos()
	for range 2 {
		w.rotate(10)
		r.look()
	}
	r.last = 11 // every generation is claimed from its third line on
	if err := r.next(1); err != nil {
		t.Fatal(err)
	}
	if done := r.tailer.Done; len(done) != 1 || done[0].FileID != first.FileID || done[0].Offset != 10*lineSize {
		t.Errorf("done: %+v, want all of %+v", done, first)
	}
	if g, n := r.tailer.TakeLetGo(); g != 1 || n != 8 {
		t.Errorf("%d generations with %d lines let go", g, n)
	}
}
