package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// chunk is what the searches hold in memory at a time.
const chunk = 64 << 10

var magicBytes = le.AppendUint32(nil, recordMagic)

// scanner looks at the records of one segment file without keeping them.
type scanner struct {
	file  File
	limit int64 // bytes of the file that count
	salt  uint32
	buf   []byte // chunk bytes
}

// check validates the record at off, its sum included, and returns its head. The
// payload's first bytes, with the source if that fits, are then in buf. errDamaged
// means what it says; any other error is one of reading.
func (s *scanner) check(off int64) (head, error) {
	if off+recordHead > s.limit {
		return head{}, errDamaged
	}
	b := s.buf[:recordHead]
	if err := s.read(b, off); err != nil {
		return head{}, err
	}
	payload, want, ok := parseHead(b, s.salt)
	if !ok || off+recordHead+payload > s.limit {
		return head{}, errDamaged
	}
	var sum uint32
	at, left := off+recordHead, payload
	for left > 0 { // the last chunk to be read is the first of the payload, for the caller
		n := min(left, chunk)
		b := s.buf[:n]
		if err := s.read(b, at); err != nil {
			return head{}, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		at, left = at+n, left-n
	}
	if sum != want {
		return head{}, errDamaged
	}
	first := s.buf[:min(payload, chunk)]
	if payload > chunk {
		if err := s.read(first, off+recordHead); err != nil {
			return head{}, err
		}
	}
	h, ok := parsePayloadHead(first, payload)
	if !ok {
		return head{}, errDamaged
	}
	return h, nil
}

// sourceID returns the source's ID of the record at off that check has just seen.
func (s *scanner) sourceID(off int64, h head) (string, error) {
	source := s.buf
	if payloadHead+int64(h.sourceLen) > chunk {
		source = make([]byte, payloadHead+h.sourceLen)
		if err := s.read(source, off+recordHead); err != nil {
			return "", err
		}
	}
	c := cutter{b: source[payloadHead : payloadHead+h.sourceLen]}
	id := c.text()
	if c.bad {
		return "", errDamaged
	}
	return id, nil
}

// next returns where the first valid record at or after off begins, or the limit.
// Each byte is looked at once, whatever the bytes are, and a sum over a payload is
// made only where the salted head is right.
func (s *scanner) next(off int64) (int64, error) {
	window := make([]byte, chunk)
	for off+recordHead <= s.limit {
		b := window[:min(s.limit-off, chunk)]
		switch err := s.read(b, off); {
		case errors.Is(err, errDamaged):
			return s.limit, nil
		case err != nil:
			return 0, err
		}
		i := 0
		for i+recordHead <= len(b) {
			j := bytes.Index(b[i:], magicBytes)
			if j < 0 {
				i = len(b) - recordHead + 1
				break
			}
			if i += j; i+recordHead > len(b) {
				break
			}
			if _, _, ok := parseHead(b[i:], s.salt); ok {
				switch _, err := s.check(off + int64(i)); {
				case err == nil:
					return off + int64(i), nil
				case !errors.Is(err, errDamaged):
					return 0, err
				}
			}
			i++
		}
		off += int64(i)
	}
	return s.limit, nil
}

func (s *scanner) read(b []byte, off int64) error {
	n, err := s.file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) { // shorter than it was: what is not there is damaged
		return errDamaged
	}
	return fmt.Errorf("read a spool segment: %w", err)
}

func segmentHeader(id uint64, salt uint32) []byte {
	b := make([]byte, segmentHead)
	copy(b, segmentMagic[:])
	le.PutUint16(b[8:], segmentVersion)
	le.PutUint32(b[12:], salt)
	le.PutUint64(b[16:], id)
	le.PutUint32(b[24:], crc32.Checksum(b[:24], castagnoli))
	return b
}

var errUnreadable = errors.New("the disk cannot read it")

// readHeader returns the id and the salt that a segment was made with; found is false
// when its header is damaged.
func readHeader(f File, name string) (id uint64, salt uint32, found bool, err error) {
	b := make([]byte, segmentHead)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		if errors.Is(err, io.EOF) {
			return 0, 0, false, nil
		}
		return 0, 0, false, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if [8]byte(b[:8]) != segmentMagic || le.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return 0, 0, false, nil
	}
	if v := le.Uint16(b[8:]); v != segmentVersion {
		return 0, 0, false, errVersion(name, v, segmentVersion)
	}
	return le.Uint64(b[16:]), le.Uint32(b[12:]), true, nil
}
