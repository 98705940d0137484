package doctor

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

// shortWindow is how long the agent may be away at a restart or an upgrade.
const shortWindow = time.Minute

// What to do about a container's log options, which are fixed when it is created.
const (
	fixRotation = "create it anew with --log-opt max-size=10m --log-opt max-file=3, or set log-opts in /etc/docker/daemon.json for containers to come"
	fixReading  = "run the agent as root or with CAP_DAC_READ_SEARCH; in a container also mount /var/lib/docker/containers, read only, at the same path"
)

// judge adds the findings, and the loss window.
func (c *Container) judge() {
	if !c.Captured {
		return
	}
	cached := c.Driver != jsonFile && c.Driver != local && c.Driver != journald && c.Driver != docker.K8sFile
	switch {
	case c.Mode == source.File:
		if err := openable(c.path); err != nil {
			c.add(Fail, "its json-file cannot be read: "+reason(err), fixReading+"; or set container_monitor.read: auto")
		}
	case c.blocked:
		fix := fixReading
		if _, advice, given := strings.Cut(c.Reason, "; "); given {
			fix = advice
		}
		c.add(Warn, "its json-file cannot be read, so it is followed through the Engine API, which skips lines when the log rotates faster than it is read", fix)
	case cached && c.empty:
		c.add(Fail, "log driver "+c.Driver+" with cache-disabled=true: there is nothing that the agent can read", "create it anew without cache-disabled, or with the log driver json-file or local")
	case cached:
		c.add(Warn, "log driver "+c.Driver+": the agent reads the engine's copy (dual logging), which drops lines in a burst (1 MB buffer)", "use the log driver json-file or local and let the agent deliver the lines")
	}
	r := c.Rotation
	if r == nil {
		return
	}
	if c.Driver == jsonFile {
		c.judgeJSONFile(r)
	}
	if r.NonBlocking {
		c.add(Warn, "mode=non-blocking: the engine drops lines, uncounted, when its buffer (max-buffer-size) is full", "create it anew without mode=non-blocking, or with a larger max-buffer-size")
	}
	if c.Rate == nil || *c.Rate == 0 || r.kept() == 0 {
		return
	}
	window := float64(r.kept()) / *c.Rate
	c.LossWindow = &window
	if window < shortWindow.Seconds() {
		c.add(Warn, "at this rate lines are lost when the agent is away for less than a minute", "create it anew with a larger max-size or max-file")
	}
}

func (c *Container) judgeJSONFile(r *Rotation) {
	switch {
	case r.MaxSize == 0:
		c.add(Warn, "its log has no max-size and grows until the disk is full", fixRotation)
	case r.MaxFiles == 1:
		c.add(Warn, "max-file=1: at each rotation the engine deletes the log, read or not", "create it anew with --log-opt max-file=3 or more")
	case r.Compress:
		c.add(Warn, "compress=true: rotated files are gzipped, which the agent does not read; after an absence only the newest file counts", "create it anew without compress")
	}
}

// need returns what reading the container takes.
func (c *Container) need() need {
	switch {
	case !c.Captured, c.Mode != source.File:
		return need{} // streams are counted together, they are limited
	case !c.Running || c.Rotation == nil:
		return need{descriptors: 1, watches: 1}
	}
	return need{descriptors: 1 + c.Rotation.MaxFiles, watches: 1}
}

// openable tries to open a json-file. One that is not there yet is fine.
func openable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// reason strips operation and path from an error of package os.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return strings.TrimSpace(err.Error())
}
