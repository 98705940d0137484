package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

func (s *suite) inOrder() {
	src := source("a")
	for round := range 3 {
		b := &record.Batch{Source: src}
		for i := range 200 {
			s.add(b, record.Stdout, line(200*round+i))
		}
		s.send(record.Whole(b))
	}
	s.check()
}

func (s *suite) nothing() {
	s.send()
	s.send(record.Whole(&record.Batch{Source: source("a")}))
	s.check()
}

func (s *suite) views() {
	b := &record.Batch{Source: source("a")}
	for i := range 10 {
		s.add(b, record.Stdout, line(i))
	}
	s.send(record.View{Batch: b, From: 2, To: 5}, record.View{Batch: b, From: 5, To: 5})
	s.send(record.View{Batch: b, From: 5, To: 9})
	s.want = s.want[2:9]
	s.check()
}

func (s *suite) sources() {
	var views []record.View
	for i := range 5 {
		b := &record.Batch{Source: source(fmt.Sprintf("source-%d", i))}
		for j := range 20 {
			s.add(b, record.Stdout+record.Output(j%2), line(j))
		}
		views = append(views, record.Whole(b))
	}
	s.send(views...)
	s.send(s.more(views)...)
	s.check()
}

// more returns views of the same sources with later entries: by then a sink knows them.
func (s *suite) more(views []record.View) (out []record.View) {
	for _, v := range views {
		b := &record.Batch{Source: v.Batch.Source}
		for j := range 20 {
			s.add(b, record.Stdout+record.Output(j%2), line(100+j))
		}
		out = append(out, record.Whole(b))
	}
	return out
}

func (s *suite) viewsOfOneSource() {
	a, b := source("a"), source("b")
	var views []record.View
	for i, src := range []*record.Source{a, b, a, a, b} {
		batch := &record.Batch{Source: src}
		for j := range 5 {
			s.add(batch, record.OutputNone, line(10*i+j))
		}
		views = append(views, record.Whole(batch))
	}
	s.send(views...)
	s.check()
}

func (s *suite) equalLines() {
	b := &record.Batch{Source: source("a")}
	for range 50 {
		s.add(b, record.Stdout, []byte("again"))
		s.now -= 999 // one nanosecond apart
	}
	s.send(record.Whole(b))
	s.check()
}

func (s *suite) emptyLines() {
	b := &record.Batch{Source: source("a")}
	for _, text := range []string{"", "before", "", "", "after", ""} {
		s.add(b, record.Stdout, []byte(text))
	}
	s.send(record.Whole(b))
	s.check()
}

func (s *suite) longLine() {
	b := &record.Batch{Source: source("a")}
	s.add(b, record.Stdout, []byte("before"))
	s.add(b, record.Stdout, bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	s.add(b, record.Stdout, []byte("after"))
	s.send(record.Whole(b))
	s.check()
}

func (s *suite) binary() {
	b := &record.Batch{Source: source("a")}
	all := make([]byte, 0, 255)
	for c := range 256 {
		if c != '\n' {
			all = append(all, byte(c))
		}
	}
	for _, text := range [][]byte{all, {0}, {0xff, 0xfe}, []byte("half a rune: \xe2\x82"), []byte("\x1b[31mred\x1b[0m\r"), []byte("日本語 \U0001F600 \u2028")} {
		s.add(b, record.Stdout, text)
	}
	s.send(record.Whole(b))
	s.check()
}

func (s *suite) untouched() {
	src := source("a")
	b := &record.Batch{Source: src}
	for i := range 20 {
		s.add(b, record.Stdout, line(i))
	}
	views := []record.View{record.Whole(b)}
	arena, entries := slices.Clone(b.Arena), slices.Clone(b.Entries)
	s.send(views...)
	if !bytes.Equal(arena, b.Arena) || !reflect.DeepEqual(entries, b.Entries) || views[0] != record.Whole(b) {
		s.Fatal("Send changed the views")
	}
	// What the dispatcher does next: the memory holds other entries.
	for i := range b.Arena {
		b.Arena[i] = 'X'
	}
	b.Arena, b.Entries = b.Arena[:0], b.Entries[:0]
	s.add(b, record.Stdout, []byte("next"))
	s.send(views[0:0]...)
	s.send(record.Whole(b))
	s.check()
}

func (s *suite) failed() {
	if s.Break == nil {
		return // there is no such failure here: the harness says so
	}
	a, b := &record.Batch{Source: source("a")}, &record.Batch{Source: source("b")}
	for i := range 50 {
		s.add(a, record.Stdout, line(i))
		s.add(b, record.Stderr, line(i))
	}
	views := []record.View{record.Whole(a), record.Whole(b)}
	heal := s.Break(s.TB)
	s.mustFail(s.Context(), views...)
	s.mustFail(s.Context(), views...)
	heal()
	s.send(views...)
	if !s.h.Once {
		s.atLeast()
		return
	}
	s.check()
}

func (s *suite) lostReply() {
	if s.LoseReply == nil {
		return
	}
	b := &record.Batch{Source: source("a")}
	for i := range 50 {
		s.add(b, record.Stdout, line(i))
	}
	s.LoseReply(s.TB)
	s.mustFail(s.Context(), record.Whole(b))
	s.send(record.Whole(b))
	if !s.h.Once {
		s.atLeast()
		return
	}
	s.check()
}

// atLeast checks that everything arrived, for sinks that may repeat.
func (s *suite) atLeast() {
	s.Helper()
	got := s.Received(s.TB)
	for _, want := range s.want {
		if !slices.ContainsFunc(got, func(e Entry) bool { return e.Source == want.Source && bytes.Equal(e.Line, want.Line) }) {
			s.Fatalf("%q of %s did not arrive", want.Line, want.Source)
		}
	}
}

func (s *suite) cancelled() {
	b := &record.Batch{Source: source("a")}
	s.add(b, record.Stdout, line(1))
	if s.Hang == nil {
		ctx, cancel := context.WithCancel(s.Context())
		cancel()
		started := time.Now()
		_ = s.Sink.Send(ctx, []record.View{record.Whole(b)}) // delivered or not, both are right
		s.promptly(started)
		return
	}
	release := s.Hang(s.TB)
	ctx, cancel := context.WithTimeout(s.Context(), 100*time.Millisecond)
	defer cancel()
	started := time.Now()
	s.mustFail(ctx, record.Whole(b))
	s.promptly(started)
	release()
	s.send(record.Whole(b))
	if s.h.Once {
		s.check()
	}
}

func (s *suite) promptly(started time.Time) {
	s.Helper()
	if took := time.Since(started); took > time.Second {
		s.Errorf("a cancelled Send took %s to return", took)
	}
}

func (s *suite) close() {
	b := &record.Batch{Source: source("a")}
	s.add(b, record.Stdout, line(1))
	if s.Break != nil {
		heal := s.Break(s.TB)
		defer heal()
		s.mustFail(s.Context(), record.Whole(b))
	} else {
		s.send(record.Whole(b))
	}
	for range 2 {
		if err := s.Sink.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
}
