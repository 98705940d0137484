package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/source"
)

// fallen is why a container with a json-file is read through the API, if it is, and when
// its file is tried again.
type fallen struct {
	reason string
	retry  time.Time
}

// retryFile is how often a file is tried that could not be read.
const retryFile = 10 * time.Second

// fall has a container read through the API whose file cannot be read, and tells whether
// it is so now. A file that is not there yet, or a shortage in the agent itself, is no
// reason.
func (j *job) fall(err error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	t := j.target
	if !t.Fallback || t.Mode != source.File || j.mode != source.File || t.Gone || shortage(err) || errors.Is(err, fs.ErrNotExist) ||
		j.p.Openers[source.Stream] == nil {
		return false
	}
	j.fallen = fallen{fmt.Sprintf("its json-file cannot be read any more: %v", err), time.Now().Add(retryFile)}
	j.p.Log.Warn("a container's json-file cannot be read; its log goes on through the Engine API", "container", t.Source.Name, "error", err)
	return true
}

// shortage tells whether the agent or the host lacks something: that keeps every log from
// being opened.
func shortage(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// saidShortage tells whether a shortage was said in the last minute; else it is now.
func (p *Pool) saidShortage() bool {
	now, said := time.Now().UnixNano(), p.shortage.Load()
	return said != 0 && now-said < int64(time.Minute) || !p.shortage.CompareAndSwap(said, now)
}

// fell tells whether it is time to try the file again.
func (j *job) fell() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fallen.reason != "" && time.Now().After(j.fallen.retry)
}

// tryFile sends a container back to its file if that can be opened.
func (j *job) tryFile() {
	j.mu.Lock()
	path := j.target.Path
	j.fallen.retry = time.Now().Add(retryFile)
	j.mu.Unlock()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	_ = unix.Close(fd) // it was only opened to see whether it can be
	j.mu.Lock()
	j.fallen.reason = ""
	name := j.target.Source.Name
	j.mu.Unlock()
	j.p.Log.Info("a container's json-file can be read again", "container", name)
	j.p.mu.Lock()
	defer j.p.mu.Unlock()
	if j.state == following {
		j.unstream()
		return
	}
	j.urgent = true
	j.p.wakeLocked(j)
}
