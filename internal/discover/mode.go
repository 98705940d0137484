package discover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

const jsonFile = "json-file"

// choice is how a container is read.
type choice struct {
	mode   source.Mode
	reason string
	// path of its json-file, predicted while the engine does not tell it, which it does
	// at the first start; empty where there is none on this host.
	path string
	// fallback: it was not asked for, so the other way may be taken for a while.
	fallback bool
	// blocked: it would be read by file if only the file could be read.
	blocked bool
}

// mode decides how a container is read.
func (c *Containers) mode(d docker.Details, o options, gone bool) choice {
	want, by := c.want(o)
	if want == source.Stream || want == source.Poll {
		return choice{mode: want, reason: fmt.Sprintf("%s is %s", by, want)}
	}
	stream := choice{mode: source.Stream}
	if c.engine.Podman() {
		stream.reason = "the engine is Podman, whose logs are read through its API"
		if want == source.File {
			stream.reason = fmt.Sprintf("%s is file, but %s", by, stream.reason)
		}
		return stream
	}
	if d.Driver != jsonFile && !(gone && d.Driver == "") {
		stream.reason = driverReason(d)
		if want == source.File {
			stream.reason = fmt.Sprintf("%s is file, but %s", by, stream.reason)
		}
		return stream
	}
	if !c.local() {
		stream.reason = "the Docker Engine is not on this host, so its files cannot be read"
		return stream
	}
	path := d.LogPath
	if path == "" && c.root != "" {
		path = filepath.Join(c.root, "containers", d.ID, d.ID+"-json.log")
	}
	auto := want == source.Auto
	switch {
	case path == "":
		stream.reason, stream.blocked = "the place of its json-file is not known yet", auto
		return stream
	case gone:
		return choice{mode: source.File, reason: "it was removed already; its json-file may be readable for a moment", path: path}
	case !auto:
		return choice{mode: source.File, reason: by + " is file", path: path}
	}
	if err := readable(path); err != nil {
		return choice{mode: source.Stream, reason: unreadable(path, err), path: path, blocked: true}
	}
	return choice{mode: source.File, reason: "its json-file is readable", path: path, fallback: true}
}

// want returns what is asked for, and by what.
func (c *Containers) want(o options) (m source.Mode, by string) {
	if o.read != "" {
		return o.read, "the container's label " + optionPrefix + optRead
	}
	return cmp.Or(c.config.Read, source.Auto), "container_monitor.read"
}

// local tells whether the engine's files may be on this host.
func (c *Containers) local() bool { return strings.HasPrefix(c.engine.Host(), "unix://") }

// driverReason says why a log that is not in a json-file is read through the API. The
// engine can read three drivers; of every other it keeps a copy, unless that is off
// (https://docs.docker.com/engine/logging/dual-logging/).
func driverReason(d docker.Details) string {
	switch {
	case d.Driver == "local" || d.Driver == "journald":
		return fmt.Sprintf("the log driver is %s, which is read through the Engine API", d.Driver)
	case d.LogOpts["cache-disabled"] == "true":
		return fmt.Sprintf("the log driver is %s and the engine keeps no copy of the log (cache-disabled=true), so there is nothing to read; remove that log option", d.Driver)
	}
	return fmt.Sprintf("the log driver is %s; the engine's copy of the log is read through the Engine API", d.Driver)
}

// unreadable says why a json-file cannot be read and what would help.
func unreadable(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("its json-file %s may not be read by this user; run as root or with CAP_DAC_READ_SEARCH", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("its json-file %s is not there; if the agent runs in a container, mount the engine's containers directory into it at the same path", path)
	}
	return fmt.Sprintf("its json-file cannot be read: %v", err)
}

// readable tries to open a log file, or its directory when it is not there yet, or the
// one above when it is there no more.
func readable(path string) error {
	f, err := os.Open(path)
	for range 2 {
		if os.IsNotExist(err) {
			path = filepath.Dir(path)
			f, err = os.Open(path)
		}
	}
	if err != nil {
		return err
	}
	return f.Close()
}
