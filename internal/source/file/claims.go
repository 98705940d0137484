package file

import (
	"sync"

	"github.com/logcapturer/log_capturer/internal/position"
)

// maxClaims bounds the memory of claims. The oldest are forgotten first.
const maxClaims = 100_000

// claims says which source reads a file, and how far it was read. A file that was
// renamed may match the globs under its new name too: while its first source holds
// it, it is that one's alone; afterwards the other goes on where the first left off.
// The zero value is ready.
type claims struct {
	mu    sync.Mutex
	files map[position.FileID]*claim
	order []position.FileID
}

type claim struct {
	owner string
	held  bool
	read  int64 // offset of the first byte not read, when not held
}

// take claims a file for a source. ok is false while another one holds it; start is
// the offset from which it is the source's to read.
func (c *claims) take(source string, id position.FileID) (start int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.of(id)
	if f.held && f.owner != source {
		return 0, false
	}
	if f.owner != source {
		start = f.read
	}
	f.owner, f.held = source, true
	return start, true
}

// release gives a file up, read so far.
func (c *claims) release(id position.FileID, read int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.of(id)
	f.held, f.read = false, read
}

// restore is a release in an earlier life of the agent.
func (c *claims) restore(source string, pos position.FilePos) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.of(pos.FileID)
	f.owner, f.read = source, max(f.read, pos.Offset)
}

func (c *claims) of(id position.FileID) *claim {
	if f := c.files[id]; f != nil {
		return f
	}
	if c.files == nil {
		c.files = map[position.FileID]*claim{}
	}
	if len(c.order) >= maxClaims {
		delete(c.files, c.order[0])
		c.order = c.order[1:]
	}
	f := &claim{}
	c.files[id] = f
	c.order = append(c.order, id)
	return f
}
