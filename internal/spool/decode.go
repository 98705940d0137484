package spool

import (
	"encoding/binary"
	"slices"

	"github.com/logcapturer/log_capturer/internal/record"
)

// cutter takes values off the front of bytes; bad once one was not there.
type cutter struct {
	b   []byte
	bad bool
}

func (c *cutter) byte() byte {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cutter) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cutter) varint() int64 {
	v, n := binary.Varint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cutter) text() string {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return ""
	}
	v := string(c.b[:n])
	c.b = c.b[n:]
	return v
}

func (c *cutter) labels() record.Labels {
	n := c.uvarint()
	if n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	out := make(record.Labels, 0, n)
	for range n {
		out = append(out, record.Label{Name: c.text(), Value: c.text()})
	}
	return out
}

func decodeSource(b []byte) (*record.Source, error) {
	c := cutter{b: b}
	s := &record.Source{ID: c.text(), Kind: c.text(), Name: c.text(), CanWait: c.byte() == 1}
	for i := range s.Streams {
		if c.byte() == 1 {
			s.Streams[i] = record.NewStream(c.labels(), c.labels())
		}
	}
	if c.bad || len(c.b) > 0 {
		return nil, errDamaged
	}
	return s, nil
}

// maxSources bounds the sources that are kept interned.
const maxSources = 1024

// interner makes each source once while it is in use: batches of one source share it.
type interner struct{ known map[string]*record.Source }

func (in *interner) source(b []byte) (*record.Source, error) {
	if s, ok := in.known[string(b)]; ok {
		return s, nil
	}
	s, err := decodeSource(b)
	if err != nil {
		return nil, err
	}
	if in.known == nil || len(in.known) >= maxSources {
		in.known = make(map[string]*record.Source)
	}
	in.known[string(b)] = s
	return s, nil
}

// decodeEntries fills the entries of b, whose arena holds a payload.
func decodeEntries(b *record.Batch, h head) error {
	if uint64(h.lines)*3 > uint64(h.indexLen) { // an entry takes three bytes at least
		return errDamaged
	}
	off := uint64(payloadHead) + uint64(h.sourceLen) + uint64(h.indexLen)
	end := uint64(len(b.Arena))
	c := cutter{b: b.Arena[off-uint64(h.indexLen) : off]}
	b.Entries = slices.Grow(b.Entries, int(h.lines))
	var last int64
	for range h.lines {
		last += c.varint()
		n := c.uvarint()
		mark := c.byte()
		if c.bad || n > end-off || mark&3 >= record.Outputs {
			return errDamaged
		}
		b.Entries = append(b.Entries, record.Entry{
			Time: last, Off: uint32(off), Len: uint32(n),
			Output: record.Output(mark & 3), Flags: record.Flags(mark >> 2),
		})
		off += n
	}
	if len(c.b) > 0 || off != end {
		return errDamaged
	}
	return nil
}
