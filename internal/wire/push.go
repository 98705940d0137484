// Package wire holds the encoders for what the agent sends: for now the body of a
// Loki push request.
//
// The encoders append straight to one buffer that their owner keeps: no message
// structs, no reflection, no allocation per line, each line's bytes are copied once.
// They are held to the schema by a decoder in the tests and by a real Loki.
//
// The schema (https://github.com/grafana/loki/blob/main/pkg/push/push.proto):
//
//	PushRequest { repeated Stream streams = 1; }
//	Stream      { string labels = 1; repeated Entry entries = 2; }
//	Entry       { Timestamp timestamp = 1; string line = 2; repeated LabelPair structuredMetadata = 3; }
//	Timestamp   { int64 seconds = 1; int32 nanos = 2; }
//	LabelPair   { string name = 1; string value = 2; }
package wire

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/s2"
)

// The tags of the fields, all of wire type 2 (length-delimited) but the last two.
const (
	tagStream   = 1<<3 | 2
	tagLabels   = 1<<3 | 2
	tagEntry    = 2<<3 | 2
	tagTime     = 1<<3 | 2
	tagLine     = 2<<3 | 2
	tagMetadata = 3<<3 | 2
	tagName     = 1<<3 | 2
	tagValue    = 2<<3 | 2
	tagSeconds  = 1 << 3
	tagNanos    = 2 << 3
)

// lengthRoom is what is kept free for a stream's length, which is known only at its
// end: a varint of four bytes, enough for 256 MiB. Small lengths are padded to it;
// protobuf decoders must accept that.
const lengthRoom = 4

// MaxStream is the most bytes that a stream in a Push may take.
const MaxStream = 1<<(7*lengthRoom) - 1

// EntryOverhead is the most bytes that an entry takes besides its line and metadata.
const EntryOverhead = 40

// Push builds one push request. The zero value is ready; Reset makes it ready again
// and keeps the memory. It is not safe for concurrent use.
//
//	p.Begin(`{app="web"}`)
//	p.Entry(time, line, nil)
//	p.End()
//	body := p.Snappy(body[:0])
type Push struct {
	buf    []byte
	stream int // where the open stream's length goes
	second int64
	head   [16]byte // a timestamp's seconds field, encoded, for second
	headN  int
}

// Reset forgets what was built.
func (p *Push) Reset() { p.buf = p.buf[:0] }

// Len returns the size of the request so far, in bytes, before compression.
func (p *Push) Len() int { return len(p.buf) }

// Cap returns the size of the memory that the Push holds, in bytes.
func (p *Push) Cap() int { return cap(p.buf) }

// Begin opens a stream. Labels is its label set in Loki's form, {a="b", c="d"}.
func (p *Push) Begin(labels string) {
	p.buf = append(p.buf, tagStream)
	p.stream = len(p.buf)
	p.buf = append(p.buf, make([]byte, lengthRoom)...)
	p.buf = append(p.buf, tagLabels)
	p.buf = binary.AppendUvarint(p.buf, uint64(len(labels)))
	p.buf = append(p.buf, labels...)
}

// Entry adds a line to the open stream. Time is nanoseconds since the Unix epoch;
// metadata is nil or made by AppendMetadata. Neither slice is kept.
func (p *Push) Entry(time int64, line, metadata []byte) {
	second, nanos := time/1e9, time%1e9
	if nanos < 0 {
		second, nanos = second-1, nanos+1e9
	}
	if p.headN == 0 || second != p.second {
		p.setSecond(second)
	}
	timeLen := p.headN + nanosLen
	size := 2 + timeLen + 1 + uvarintLen(uint64(len(line))) + len(line) + len(metadata)

	at := len(p.buf)
	p.buf = slices.Grow(p.buf, size+EntryOverhead)
	b := p.buf[at : at+size+EntryOverhead] // written by index: append's checks cost more than the rest
	b[0] = tagEntry
	n := 1 + putUvarint(b[1:], uint64(size))
	b[n], b[n+1] = tagTime, byte(timeLen)
	n += 2
	n += copy(b[n:], p.head[:p.headN])
	n += putNanos(b[n:], uint32(nanos))
	b[n] = tagLine
	n += 1 + putUvarint(b[n+1:], uint64(len(line)))
	n += copy(b[n:], line)
	if len(metadata) > 0 {
		n += copy(b[n:], metadata)
	}
	p.buf = p.buf[:at+n]
}

// setSecond encodes the seconds field once for all entries of the same second.
func (p *Push) setSecond(second int64) {
	p.second = second
	p.head[0] = tagSeconds
	p.headN = 1 + binary.PutUvarint(p.head[1:], uint64(second))
}

// End closes the open stream.
func (p *Push) End() {
	n := len(p.buf) - p.stream - lengthRoom
	at := p.buf[p.stream : p.stream+lengthRoom]
	for i := range at {
		at[i] = byte(n>>(7*i))&0x7f | 0x80
	}
	at[lengthRoom-1] &= 0x7f
}

// Bytes returns the request, valid until the next change of p.
func (p *Push) Bytes() []byte { return p.buf }

// Snappy appends the request to dst in snappy's block format, which is what Loki
// takes, and returns the result.
func (p *Push) Snappy(dst []byte) []byte {
	at := len(dst)
	most := s2.MaxEncodedLen(len(p.buf))
	dst = slices.Grow(dst, most)
	return dst[:at+len(s2.EncodeSnappy(dst[at:at+most], p.buf))]
}

// AppendMetadata appends one pair of an entry's structured metadata to dst, for Entry.
// Name must not be empty.
func AppendMetadata(dst []byte, name, value string) []byte {
	size := 1 + uvarintLen(uint64(len(name))) + len(name) + 1 + uvarintLen(uint64(len(value))) + len(value)
	dst = append(dst, tagMetadata)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, tagName)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	dst = append(dst, name...)
	dst = append(dst, tagValue)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// putUvarint is binary.PutUvarint, small enough to be inlined.
func putUvarint(b []byte, v uint64) int {
	i := 0
	for ; v >= 0x80; i++ {
		b[i] = byte(v) | 0x80
		v >>= 7
	}
	b[i] = byte(v)
	return i + 1
}

// nanosLen is the size of the nanoseconds field, always: below 2²⁸ (a quarter of
// them) the varint is padded, which costs less than to find its length.
const nanosLen = 6

func putNanos(b []byte, v uint32) int {
	_ = b[nanosLen-1]
	b[0] = tagNanos
	b[1] = byte(v) | 0x80
	b[2] = byte(v>>7) | 0x80
	b[3] = byte(v>>14) | 0x80
	b[4] = byte(v>>21) | 0x80
	b[5] = byte(v >> 28)
	return nanosLen
}

func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
