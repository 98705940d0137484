package tail

import "golang.org/x/sys/unix"

// Seen is how a log looked that was read to its end: enough to tell, without holding it
// open, whether it is as it was.
type Seen struct {
	path          string
	device, inode uint64
	size, written int64 // bytes; ns since the epoch
}

// AtRest tells whether everything was read and nothing is held that could not be opened
// again under the log's name, and how the log looks then.
func (t *Tailer) AtRest() (seen Seen, ok bool) {
	if t.at == nil || t.Log.Held() != 1 || t.Log.Current() != t.at {
		return Seen{}, false
	}
	var st unix.Stat_t
	if unix.Stat(t.Log.Path(), &st) != nil || !t.at.is(st.Dev, st.Ino) || st.Size != t.pos.Offset {
		return Seen{}, false
	}
	return Seen{t.Log.Path(), st.Dev, st.Ino, st.Size, st.Mtim.Nano()}, true
}

// Changed tells whether something was written to the log, or another file has its name. One
// that is not there is as it was: its writer may be about to make it again.
func (s Seen) Changed() bool {
	var st unix.Stat_t
	if unix.Stat(s.path, &st) != nil {
		return false
	}
	return st.Dev != s.device || st.Ino != s.inode || st.Size != s.size || st.Mtim.Nano() != s.written
}
