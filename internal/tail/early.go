package tail

import (
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// How long a file is held that nobody asks for, and how many at most.
const (
	earlyTime = 30 * time.Second
	earlyMost = 512
)

// Early opens logs the moment they appear, before anybody knows whose they are: a
// container that lives for milliseconds may be removed, its log with it, before its
// discovery is through. What nobody asks for within half a minute is let go.
//
// It is for trees like the engine's: one directory per log, which holds it under a
// name that follows from the directory's.
type Early struct {
	watcher *Watcher
	logName func(dir string) string
	open    *ledger.Account

	mu    sync.Mutex
	off   bool                  // nothing is opened
	held  map[string]*earlyFile // by path
	order []string
}

type earlyFile struct {
	file *File
	at   time.Time
}

// NewEarly returns an Early that watches nothing yet. logName makes the log's name of
// its directory's; open counts the descriptors held.
func NewEarly(w *Watcher, logName func(dir string) string, open *ledger.Account) *Early {
	return &Early{watcher: w, logName: logName, open: open, held: map[string]*earlyFile{}}
}

// Watch watches root, in which the logs' directories appear, until Pause.
func (e *Early) Watch(root string) error {
	e.mu.Lock()
	e.off = false
	e.mu.Unlock()
	return e.watcher.WatchDir(root, "early", func(dir string) {
		if dir == "" {
			return
		}
		name := e.logName(dir)
		path := filepath.Join(root, dir, name)
		var watch atomic.Pointer[NameWatch]
		n := e.watcher.WatchNew(filepath.Join(root, dir), name, func() {
			e.hold(path)
			if n := watch.Load(); n != nil {
				e.watcher.Unwatch(filepath.Join(root, dir), name, n)
			}
		})
		if n != nil {
			watch.Store(n)
			e.hold(path) // it may have come before the watch
		}
	})
}

func (e *Early) hold(path string) {
	f, err := openFile(path, false, e.open)
	if err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(time.Now())
	if e.off || e.held[path] != nil {
		f.close()
		return
	}
	e.held[path] = &earlyFile{f, time.Now()}
	e.order = append(e.order, path)
}

// Take gives out the file that appeared at path, nil if there is none. It is the
// caller's to close.
func (e *Early) Take(path string) *File {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(time.Now())
	h := e.held[path]
	if h == nil {
		return nil
	}
	f := h.file
	h.file = nil
	return f
}

// Held returns how many files are held that nobody has asked for.
func (e *Early) Held() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.held {
		if h.file != nil {
			n++
		}
	}
	return n
}

// expire lets go of what is too old or too much; a file that was taken stays known
// for as long, so that a late event does not hold it again.
func (e *Early) expire(now time.Time) {
	for len(e.order) > 0 {
		path := e.order[0]
		h := e.held[path]
		if now.Sub(h.at) < earlyTime && len(e.order) <= earlyMost {
			return
		}
		if h.file != nil {
			h.file.close()
		}
		delete(e.held, path)
		e.order = e.order[1:]
	}
}

// Sweep lets go of what is too old; to be called now and then.
func (e *Early) Sweep() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(time.Now())
}

// Pause has nothing opened until Watch is called again, and lets go of what is held, but
// for files without a name: nobody could open them again.
func (e *Early) Pause() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.off = true
	e.order = slices.DeleteFunc(e.order, func(path string) bool {
		f := e.held[path].file
		if f != nil {
			if st, err := f.stat(); err == nil && st.Nlink == 0 {
				return false
			}
			f.close()
		}
		delete(e.held, path)
		return true
	})
}

// Close lets go of everything.
func (e *Early) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(time.Now().Add(2 * earlyTime))
}
