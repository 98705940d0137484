// Package journal reads systemd's journal.
//
// It reads what the system's own journalctl says, a child process that follows the journal
// and writes its export format: the binary stays without C, and who knows how journal files
// are compressed, rotated and merged is the program that belongs to them. The child is the
// reader's: it ends with it, and is started again, behind the last entry that was read, when
// it ends by itself.
//
// All of the journal is one source with one position, the cursor of an entry. Entries have
// the labels of their unit, so a batch is a run of entries with the same labels.
package journal

import (
	"context"
	"errors"
	"hash/fnv"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/logcapturer/log_capturer/internal/ledger"
	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Choice is which entries are read. The zero value reads all.
type Choice struct {
	// Directory has the journal's files, empty = this host's.
	Directory string
	// Units are globs, of which an entry's unit matches one; empty = any, or none.
	Units []string
	// ExcludeUnits are globs of those that are left out.
	ExcludeUnits []string
	// Identifiers are those of syslog; empty = any.
	Identifiers []string
	// Priority is the largest number, that is, the least important, 0 to 7.
	Priority int
	// Matches are journalctl's: FIELD=VALUE, and + between alternatives.
	Matches []string
}

// Least is the least important priority: debug.
const Least = 7

// Stats are counted over the life of the agent.
type Stats struct {
	// Children are the journalctls that run.
	Children ledger.Account
	// Ended are those that ended by themselves.
	Ended atomic.Int64
	// Truncated are entries that were longer than MaxLine.
	Truncated atomic.Int64
	// Invalid are bytes that are no text.
	Invalid atomic.Int64
	// Silent are entries without a message, which are left out.
	Silent atomic.Int64
}

// Opener opens the reader of the journal. Its fields are set before the first Open.
type Opener struct {
	Pool    *record.Pool
	Command string // journalctl, or its path
	Choice  Choice
	// Labels are which of unit, level and identifier are labels of the streams; the others are
	// metadata.
	Labels  []string
	MaxLine int
	Stats   *Stats
}

var _ source.Opener = (*Opener)(nil)

// Open implements source.Opener. journalctl is started by the first Next.
func (o *Opener) Open(_ context.Context, t source.Target, from position.Cursor) (source.Reader, error) {
	if t.Source == nil || o.MaxLine <= 0 {
		return nil, errors.New("open the journal: there is no source or no max_line; this is a bug")
	}
	r := &Reader{opener: o, sources: newSources(t.Source, o.Labels, o.Choice), choice: o.Choice.hash(), behind: behind}
	r.text.ShowNULs = true
	switch {
	case from.Journal != nil:
		r.at = append(r.at, from.Journal.Cursor...)
		r.since, r.known = from.Journal.Since, from.Journal.Choice == r.choice
	case !t.Since.IsZero():
		r.since = t.Since.UnixMicro()
	}
	r.moved = from.IsZero() // where it begins is worth to be kept
	r.clock.Last = from.Last[record.OutputNone]
	return r, nil
}

// fields are those that entries are asked for, besides those that are always there.
const fields = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,UNIT,_PID,_HOSTNAME"

// args returns journalctl's arguments: to read from the entry at a cursor on, that one
// included, or, without a cursor, from since on, in µs since the epoch, 0 = from the start.
// It ends with the last entry there is unless it follows.
//
// The entry at the cursor is asked for as well, since it tells whether it is still there:
// --after-cursor goes on silently at the nearest one. And --merge is there because --follow
// alone reads this boot's entries only, from systemd 251 on.
func (c Choice) args(cursor []byte, since int64, follow bool) []string {
	args := []string{"--quiet", "--no-pager", "--merge", "--output=export", "--output-fields=" + fields}
	if follow {
		args = append(args, "--follow", "--no-tail")
	}
	if c.Priority < Least { // else those without one too
		args = append(args, "--priority=0.."+strconv.Itoa(c.Priority))
	}
	if c.Directory != "" {
		args = append(args, "--directory="+c.Directory)
	}
	if plain(c.Units) { // globs are expanded when it starts, to the units of that moment
		for _, u := range c.Units {
			args = append(args, "--unit="+u)
		}
	}
	for _, id := range c.Identifiers {
		args = append(args, "--identifier="+id)
	}
	switch {
	case len(cursor) > 0:
		args = append(args, "--cursor="+string(cursor))
	case since > 0:
		args = append(args, "--since=@"+strconv.FormatInt(since/1e6, 10)+"."+pad(since%1e6))
	}
	return append(append(args, "--"), c.Matches...)
}

func pad(micros int64) string {
	s := strconv.FormatInt(micros, 10)
	return strings.Repeat("0", max(0, 6-len(s))) + s
}

// hash tells choices apart.
func (c Choice) hash() uint64 {
	h := fnv.New64a()
	for _, list := range [][]string{{c.Directory, strconv.Itoa(c.Priority)}, c.Units, c.ExcludeUnits, c.Identifiers, c.Matches} {
		_, _ = h.Write([]byte(strings.Join(list, "\x00") + "\x01"))
	}
	return h.Sum64()
}
