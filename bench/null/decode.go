package null

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

var errShort = errors.New("a protobuf message ends within a field")

// fields calls fn with each length-delimited field of a protobuf message; others are passed over.
func fields(b []byte, fn func(field uint64, value []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errShort
		}
		b = b[n:]
		var size uint64
		switch tag & 7 {
		case 0, 2:
			v, m := binary.Uvarint(b)
			if m <= 0 {
				return errShort
			}
			if b = b[m:]; tag&7 == 0 {
				continue
			}
			size = v
		case 1:
			size = 8
		case 5:
			size = 4
		default:
			return fmt.Errorf("a protobuf message has wire type %d", tag&7)
		}
		if size > uint64(len(b)) {
			return errShort
		}
		if tag&7 == 2 {
			if err := fn(tag>>3, b[:size]); err != nil {
				return err
			}
		}
		b = b[size:]
	}
	return nil
}

// within calls fn with each field of the number path[len(path)-1] of those of the number
// before it, and so on down from the message.
func within(b []byte, path []uint64, fn func(value []byte)) error {
	return fields(b, func(field uint64, value []byte) error {
		if field != path[0] {
			return nil
		}
		if len(path) == 1 {
			fn(value)
			return nil
		}
		return within(value, path[1:], fn)
	})
}

// Where the lines are: PushRequest.streams.entries.line of Loki, and
// ExportLogsServiceRequest.resource_logs.scope_logs.log_records.body.string_value of OTLP.
var lokiLine, otlpLine = []uint64{1, 2, 2}, []uint64{1, 2, 2, 5, 1}

func (t *tally) loki(b []byte) error { return within(b, lokiLine, t.line) }
func (t *tally) otlp(b []byte) error { return within(b, otlpLine, t.line) }

// lokiJSON counts the values of a push in JSON: each number in it is one line's.
func (t *tally) lokiJSON(b []byte) error {
	if !bytes.HasPrefix(bytes.TrimSpace(b), []byte(`{"streams"`)) {
		return errors.New("no JSON of a push: it does not begin with streams")
	}
	for {
		at := indexSeq(b)
		if at < 0 {
			return nil
		}
		end := at + len(seqMark)
		for end < len(b) && b[end]-'0' <= 9 {
			end++
		}
		t.line(b[:end])
		b = b[end:]
	}
}

// bulk counts the documents of an Elasticsearch bulk request, each behind its action.
func (t *tally) bulk(b []byte) error {
	action := false
	for l := range bytes.Lines(b) {
		switch l = bytes.TrimSpace(l); {
		case len(l) == 0:
		case action:
			t.line(l)
			action = false
		case bytes.HasPrefix(l, []byte(`{"index"`)), bytes.HasPrefix(l, []byte(`{"create"`)):
			action = true
		default:
			return fmt.Errorf("a bulk request has %.40q where an action should be", l)
		}
	}
	return nil
}

// ndjson counts one document a line.
func (t *tally) ndjson(b []byte) error {
	for l := range bytes.Lines(b) {
		if l = bytes.TrimSpace(l); len(l) > 0 {
			t.line(l)
		}
	}
	return nil
}
