package sim

import "slices"

// sector is what a disk writes as a whole or not at all.
const sector = 512

// cut is one power cut, or the part of one that a failed fsync is: of a file there is what
// was synced, of what was written since any sectors, each as it was at some moment, and
// one of the sizes it had; of names those that were synced, and of what was changed since
// any, or the first few.
type cut struct {
	dice    dice
	keep    float64 // how likely something is there that was not synced
	inOrder bool    // names change in the order in which they were changed
	n       int64
}

func (c *cut) kept() bool {
	c.n++
	return c.dice.at(c.n).chance(c.keep)
}

// powerCut makes the disk what it is when the power comes back, the n-th time.
func (d *disk) powerCut(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dirs := make([]string, 0, len(d.dirs))
	for name := range d.dirs {
		dirs = append(dirs, name)
	}
	slices.Sort(dirs)
	for _, name := range dirs {
		at := d.dice.of("power", name).at(n)
		c := cut{dice: at, keep: []float64{0, 0.1, 0.5, 0.9, 1}[int(at.of("keep").number()*5)], inOrder: at.of("order").chance(0.5)}
		dir := d.dirs[name]
		dir.now = c.names(dir)
		dir.safe, dir.pending = map[string]*inode{}, nil
		done := map[*inode]bool{} // a file may have two names
		for _, file := range sorted(dir.now) {
			i := dir.now[file]
			if !done[i] {
				done[i] = true
				i.safe = c.content(i)
				i.now, i.pending = slices.Clone(i.safe), nil
			}
			dir.safe[file] = i
		}
	}
}

func (c *cut) names(n *names) map[string]*inode {
	out := map[string]*inode{}
	for name, file := range n.safe {
		out[name] = file
	}
	first := int(c.dice.of("first").number() * float64(len(n.pending)+1))
	for i, change := range n.pending {
		if c.inOrder && i < first || !c.inOrder && c.kept() {
			change.apply(out)
		}
	}
	return out
}

func (c *cut) content(f *inode) []byte {
	out, shown := slices.Clone(f.safe), slices.Clone(f.safe)
	size := len(out)
	for _, e := range f.pending {
		shown = e.apply(shown)
		if e.cut && e.off < size {
			if !c.kept() {
				break // sizes change in order: nothing that follows is there
			}
			size = e.off
			out = out[:min(len(out), size)]
			continue
		}
		if c.kept() {
			size = max(size, len(shown))
		}
		for at := e.off / sector * sector; at < e.off+len(e.data); at += sector {
			if c.kept() {
				out = change{off: at, data: shown[at:min(at+sector, len(shown))]}.apply(out)
			}
		}
	}
	return change{off: size, cut: true}.apply(change{off: size}.apply(out))
}

// copyOf returns a copy of a directory, on a disk of its own without faults.
func (d *disk) copyOf(name string) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := newDisk(0, &trace{})
	dir := c.dir(name)
	for file, i := range d.dir(name).now {
		dir.now[file] = &inode{now: slices.Clone(i.now), safe: slices.Clone(i.now)}
	}
	return c
}
