// Package record holds what flows through the agent: batches of log entries.
//
// A Batch belongs to one Source, keeps its bytes in one arena and has one owner
// at a time: the reader fills it, the dispatcher shares it out to the sinks
// (shared means read-only), the last Done acknowledges it and recycles the
// arena. Nothing is allocated per line. Sources and their label sets are made
// once and never change.
//
// The package imports nothing of ours.
package record

import "github.com/cespare/xxhash/v2"

// Output names the output stream of a container that wrote an entry.
type Output uint8

// The outputs. A log file has none.
const (
	OutputNone Output = iota
	Stdout
	Stderr

	// Outputs is the number of outputs, for arrays indexed by one.
	Outputs = 3
)

// String returns the name that users know: "stdout", "stderr" or "".
func (o Output) String() string {
	switch o {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	}
	return ""
}

// KindCanary is the kind of the agent's own source, whose entries show that the way is open.
const KindCanary = "canary"

// Stream is one labelled stream as sinks know it. It is immutable.
type Stream struct {
	// Labels identify the stream; sorted, sanitised and few.
	Labels Labels
	// Metadata belongs to every entry of the stream but does not identify it.
	Metadata Labels
	// Key is Labels in the form {a="b", c="d"}, made once.
	Key string
	// Hash is a hash of Key, made once.
	Hash uint64
}

// NewStream sanitises and sorts both sets and makes the key. It keeps neither slice.
func NewStream(labels, metadata Labels) *Stream {
	s := &Stream{Labels: labels.Clean(), Metadata: metadata.Clean()}
	s.Key = s.Labels.String()
	s.Hash = xxhash.Sum64String(s.Key)
	return s
}

// Source is one origin of entries: a container or a log file. It is immutable;
// a rename makes a new one with the same ID.
type Source struct {
	// ID is the key of its position, for example "container:4f5e…" or "file:/var/log/app.log".
	ID string
	// Kind is "container", "file" or KindCanary.
	Kind string
	// Name is what a person calls it: the container's name or the file's path.
	Name string
	// Streams are the label sets by output; entries with an output that is nil here do not occur.
	Streams [Outputs]*Stream
	// CanWait tells that its reader may be held up without losing anything (files may, follow streams may not).
	CanWait bool
}

// Entry is one log line. Its bytes are Arena[Off:Off+Len] of its batch, without the newline.
type Entry struct {
	// Time is nanoseconds since the Unix epoch, UTC. Within a stream no two entries
	// of one reading share it, and reading again from the same cursor gives the same.
	Time   int64
	Off    uint32
	Len    uint32
	Output Output
	Flags  Flags
}

// Flags mark what happened to an entry on its way.
type Flags uint8

// Truncated marks an entry that was longer than max_line and was cut.
const Truncated Flags = 1

// View is a run of entries of a batch, Entries[From:To]: what a sink is given, so
// that a batch too large for one request can be sent in parts.
type View struct {
	Batch    *Batch
	From, To int
}

// Whole returns the view of all entries of b.
func Whole(b *Batch) View { return View{Batch: b, To: len(b.Entries)} }

// Entries returns the entries of the view; read-only.
func (v View) Entries() []Entry { return v.Batch.Entries[v.From:v.To] }

// Bytes returns the number of bytes of the view's lines.
func (v View) Bytes() int {
	n := 0
	for i := range v.Entries() {
		n += int(v.Batch.Entries[v.From+i].Len)
	}
	return n
}
