package crash

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// sector is what a disk writes as a whole or not at all.
const sector = 512

// image makes, below dir, what a disk holds when the power was cut after the events. Of a
// file, what it held at its last fsync is there; of what was written since, each sector
// as it was at some moment since then, and some size that it had. Of the names, those
// that were there when their directory was last synced; of what was changed since, the
// first few, or any.
func image(dir string, events []event, rng *rand.Rand) error {
	d := &disk{rng: rng, keep: []float64{0, 0.1, 0.5, 0.9, 1}[rng.IntN(5)], inOrder: rng.IntN(2) == 0,
		files: map[int]*content{}, dirs: map[int]*names{0: newNames()}}
	for i := range events {
		d.apply(&events[i])
	}
	return d.write(dir, 0)
}

type disk struct {
	rng     *rand.Rand
	keep    float64 // how likely something that was not synced is there
	inOrder bool    // names change in the order in which they were changed
	files   map[int]*content
	dirs    map[int]*names
}

// content is one file: what the disk has for certain, and what was done since.
type content struct {
	safe    []byte
	pending []*event
}

// names is one directory.
type names struct {
	safe    map[string]int
	pending []*event
}

func newNames() *names { return &names{safe: map[string]int{}} }

func (d *disk) file(n int) *content {
	c := d.files[n]
	if c == nil {
		c = &content{}
		d.files[n] = c
	}
	return c
}

func (d *disk) directory(n int) *names {
	c := d.dirs[n]
	if c == nil {
		c = newNames()
		d.dirs[n] = c
	}
	return c
}

func (d *disk) apply(e *event) {
	switch e.op {
	case opWrite, opTruncate:
		c := d.file(e.file)
		c.pending = append(c.pending, e)
	case opSync:
		// What an earlier fsync failed to write is not written by this one.
		c := d.file(e.file)
		for _, e := range c.pending {
			c.safe = change(c.safe, e)
		}
		c.pending = nil
	case opSyncFail:
		c := d.file(e.file)
		c.safe, c.pending = d.cut(c), nil
	case opName, opUnname, opRename:
		if e.isDir {
			d.directory(e.file)
		}
		dir := d.directory(e.dir)
		dir.pending = append(dir.pending, e)
	case opSyncDir:
		dir := d.directory(e.dir)
		for _, e := range dir.pending {
			rename(dir.safe, e)
		}
		dir.pending = nil
	}
}

func change(data []byte, e *event) []byte {
	if e.op == opWrite {
		return write(data, e.data, e.off)
	}
	if int(e.off) < len(data) {
		return data[:e.off:e.off]
	}
	return write(data, nil, e.off)
}

func rename(names map[string]int, e *event) {
	switch e.op {
	case opName:
		names[e.name] = e.file
	case opUnname:
		delete(names, e.name)
	case opRename:
		if names[e.name] == e.file {
			delete(names, e.name)
		}
		names[e.to] = e.file
	}
}

// cut returns what the disk has of a file when the power goes: of each sector a version
// of after the last fsync, or that of then.
func (d *disk) cut(c *content) []byte {
	out, shown := slices.Clone(c.safe), slices.Clone(c.safe)
	size := len(out)
	for _, e := range c.pending {
		shown = change(shown, e)
		if e.op == opTruncate && int(e.off) < size {
			if d.rng.Float64() >= d.keep {
				break // sizes change in order: nothing that follows is there
			}
			size = int(e.off)
			out = out[:min(len(out), size):min(len(out), size)]
			continue
		}
		if d.rng.Float64() < d.keep {
			size = max(size, len(shown))
		}
		for at := int(e.off) / sector * sector; at < int(e.off)+len(e.data); at += sector {
			if d.rng.Float64() < d.keep {
				out = write(out, shown[at:min(at+sector, len(shown))], int64(at))
			}
		}
	}
	if size < len(out) {
		return out[:size:size]
	}
	return write(out, nil, int64(size))
}

// entries returns the names that a directory has when the power goes.
func (d *disk) entries(n *names) map[string]int {
	out := map[string]int{}
	for name, file := range n.safe {
		out[name] = file
	}
	first := d.rng.IntN(len(n.pending) + 1)
	for i, e := range n.pending {
		if d.inOrder && i < first || !d.inOrder && d.rng.Float64() < d.keep {
			rename(out, e)
		}
	}
	return out
}

func (d *disk) write(path string, number int) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	found := d.entries(d.directory(number))
	sorted := make([]string, 0, len(found))
	for name := range found {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted) // so that a seed gives the same image
	for _, name := range sorted {
		at := filepath.Join(path, name)
		if _, isDir := d.dirs[found[name]]; isDir {
			if err := d.write(at, found[name]); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(at, d.cut(d.file(found[name])), 0o600); err != nil {
			return err
		}
	}
	return nil
}
