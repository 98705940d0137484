package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"github.com/logcapturer/log_capturer/internal/record"
)

// The format, all numbers little endian:
//
//	segment  = header record*
//	header   = "LCSPOOL\0" version:u16 0:u16 salt:u32 id:u64 crc:u32 0:u32
//	record   = magic:u32 length:u32 crc(payload):u32 crc(the 12 bytes before):u32 payload
//	payload  = seq:u64 linesBefore:u64 lines:u32 sourceLen:u32 indexLen:u32 source index bytes
//	source   = id kind name canWait:u8 (present:u8 labels metadata)×Outputs
//	labels   = n:uvarint (name value)×n; every text is its uvarint length and its bytes
//	index    = (time:varint, the difference to the entry before; len:uvarint; flags<<2|output:u8, so six flags)×lines
//
// The sums are CRC32C. The one over a record's head starts from the spool's random
// salt, so that a log line which holds the picture of a record cannot pass for one when
// the search after a damaged record comes across it, and is turned away at little cost.
// linesBefore counts the lines of all earlier records; a jump in it is what was lost.
const (
	segmentVersion  = 1
	positionVersion = 2

	segmentHead = 32
	recordHead  = 16
	payloadHead = 28

	recordMagic = 0xF552434C // "LCR" and a byte that is not valid UTF-8
	maxPayload  = 1 << 30
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	segmentMagic = [8]byte{'L', 'C', 'S', 'P', 'O', 'O', 'L', 0}
	errDamaged   = errors.New("damaged record")
	le           = binary.LittleEndian
)

// head is what the start of a record tells.
type head struct {
	seq, linesBefore uint64
	lines            uint32
	sourceLen        uint32
	indexLen         uint32
	payload          int64 // bytes
}

func (h head) size() int64 { return recordHead + h.payload }

// appendRecord encodes entries of b with all that is needed to make it again.
func appendRecord(dst []byte, b *record.Batch, seq, linesBefore uint64, salt uint32) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, recordHead+payloadHead)...)
	body := start + recordHead
	dst = appendSource(dst, b.Source)
	sourceLen := len(dst) - body - payloadHead
	var last int64
	for i := range b.Entries {
		e := &b.Entries[i]
		dst = binary.AppendVarint(dst, e.Time-last)
		dst = binary.AppendUvarint(dst, uint64(e.Len))
		dst = append(dst, byte(e.Flags)<<2|byte(e.Output))
		last = e.Time
	}
	indexLen := len(dst) - body - payloadHead - sourceLen
	for i := range b.Entries {
		dst = append(dst, b.Line(i)...)
	}
	if len(dst)-body > maxPayload || len(b.Entries) > math.MaxInt32 {
		return dst[:start], errors.New("the batch is larger than 1 GiB")
	}
	le.PutUint64(dst[body:], seq)
	le.PutUint64(dst[body+8:], linesBefore)
	le.PutUint32(dst[body+16:], uint32(len(b.Entries)))
	le.PutUint32(dst[body+20:], uint32(sourceLen))
	le.PutUint32(dst[body+24:], uint32(indexLen))
	h := dst[start:]
	le.PutUint32(h, recordMagic)
	le.PutUint32(h[4:], uint32(len(dst)-body))
	le.PutUint32(h[8:], crc32.Checksum(dst[body:], castagnoli))
	le.PutUint32(h[12:], crc32.Update(salt, castagnoli, h[:12]))
	return dst, nil
}

// parseHead checks the 16 bytes at the start of a record.
func parseHead(h []byte, salt uint32) (payload int64, sum uint32, ok bool) {
	if le.Uint32(h) != recordMagic || le.Uint32(h[12:]) != crc32.Update(salt, castagnoli, h[:12]) {
		return 0, 0, false
	}
	payload = int64(le.Uint32(h[4:]))
	return payload, le.Uint32(h[8:]), payload >= payloadHead && payload <= maxPayload
}

func parsePayloadHead(p []byte, payload int64) (head, bool) {
	h := head{
		seq: le.Uint64(p), linesBefore: le.Uint64(p[8:]), lines: le.Uint32(p[16:]),
		sourceLen: le.Uint32(p[20:]), indexLen: le.Uint32(p[24:]), payload: payload,
	}
	return h, payloadHead+int64(h.sourceLen)+int64(h.indexLen) <= payload
}

func appendSource(dst []byte, s *record.Source) []byte {
	dst = appendText(dst, s.ID)
	dst = appendText(dst, s.Kind)
	dst = appendText(dst, s.Name)
	dst = append(dst, flag(s.CanWait))
	for _, stream := range s.Streams {
		dst = append(dst, flag(stream != nil))
		if stream != nil {
			dst = appendLabels(dst, stream.Labels)
			dst = appendLabels(dst, stream.Metadata)
		}
	}
	return dst
}

func appendLabels(dst []byte, labels record.Labels) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(labels)))
	for i := range labels {
		dst = appendText(dst, labels[i].Name)
		dst = appendText(dst, labels[i].Value)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}
