package null

import (
	"bytes"
	"sync"
)

// Report is what a server has seen since it was started.
type Report struct {
	// Lines counts each line once, Repeated what came again, Disorder what came for the first
	// time but behind a later line of its source, Foreign what carries no source and number.
	Lines, Repeated, Disorder, Foreign int64
	Sources                            int
	// Bytes are those of the bodies, as sent, of Requests; Refused are those that were answered
	// with an error because the server was told to, Broken those that it could not read.
	Bytes, Requests, Refused, Broken int64
	// First and Last are when new lines came first and last, in ns since the epoch; 0 = never.
	First, Last int64
	// CPU is the processor time of the server, in seconds.
	CPU float64
	// Error is why a request was broken, the last one.
	Error string `json:",omitempty"`
}

// tally counts lines by source and number. Its methods are safe for concurrent use; lines of
// one request are counted together.
type tally struct {
	mu       sync.Mutex
	report   Report
	sources  map[string]*source
	last     *source // most lines are of the source of the line before
	arrivals bool
	now      int64 // of the request that is being counted
}

// source has a bit for each number that came.
type source struct {
	id      string
	seen    []uint64
	highest int64
	at      []int64 // by number, in ns since the epoch
}

func newTally() *tally { return &tally{sources: map[string]*source{}} }

// line counts one line; it takes nothing of it along.
func (t *tally) line(b []byte) {
	id, seq, ok := key(b)
	if !ok {
		t.report.Foreign++
		return
	}
	s := t.last
	if s == nil || s.id != string(id) {
		if s = t.sources[string(id)]; s == nil {
			s = &source{id: string(id)}
			t.sources[s.id] = s
			t.report.Sources++
		}
		t.last = s
	}
	word, bit := seq>>6, uint64(1)<<(seq&63)
	if word >= int64(len(s.seen)) {
		s.seen = append(s.seen, make([]uint64, word+1-int64(len(s.seen)))...)
	}
	if s.seen[word]&bit != 0 {
		t.report.Repeated++
		return
	}
	s.seen[word] |= bit
	t.report.Lines++
	t.report.Last = t.now
	if t.report.First == 0 {
		t.report.First = t.now
	}
	if seq < s.highest {
		t.report.Disorder++
	} else {
		s.highest = seq
	}
	if t.arrivals {
		if seq >= int64(len(s.at)) {
			s.at = append(s.at, make([]int64, seq+1-int64(len(s.at)))...)
		}
		s.at[seq] = t.now
	}
}

// mostSeq bounds what a damaged number can make the server allocate.
const mostSeq = 1 << 30

var seqMark, idMark = []byte(" seq="), []byte("id=")

// indexSeq is where ` seq=` is; of its bytes = is the rarest by far in logs.
func indexSeq(b []byte) int {
	for from := 0; ; from++ {
		at := bytes.IndexByte(b[from:], '=')
		if at < 0 {
			return -1
		}
		if from += at; bytes.HasSuffix(b[:from+1], seqMark) {
			return from + 1 - len(seqMark)
		}
	}
}

// key finds `id=ID seq=N` in a line, or in its JSON.
func key(b []byte) (id []byte, seq int64, ok bool) {
	at := indexSeq(b)
	if at < 0 {
		return nil, 0, false
	}
	from := bytes.LastIndex(b[:at], idMark)
	if from < 0 {
		return nil, 0, false
	}
	digits := b[at+len(seqMark):]
	n := 0
	for n < len(digits) && digits[n]-'0' <= 9 && seq < mostSeq {
		seq = seq*10 + int64(digits[n]-'0')
		n++
	}
	return b[from+len(idMark) : at], seq, n > 0 && seq < mostSeq
}
