package doctor

import (
	"strconv"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/units"
)

// The log drivers that are spoken of.
const (
	jsonFile = "json-file"
	local    = "local"
	journald = "journald"
)

// The engine's defaults for the local driver and for the dual-logging cache, which is
// one: https://docs.docker.com/engine/logging/drivers/local/
const (
	localMaxSize  = 20 << 20
	localMaxFiles = 5
)

// rotationOf returns how the engine bounds what it keeps of a container's log, nil when
// that is not its own to bound, or not understood.
func rotationOf(d docker.Details) *Rotation {
	r := Rotation{NonBlocking: d.LogOpts["mode"] == "non-blocking"}
	prefix := ""
	switch d.Driver {
	case jsonFile:
		r.MaxFiles = 1
	case journald, "none", "":
		return nil
	case local:
		r.MaxSize, r.MaxFiles, r.Compress = localMaxSize, localMaxFiles, true
	default:
		prefix = "cache-"
		r.MaxSize, r.MaxFiles, r.Compress = localMaxSize, localMaxFiles, true
	}
	if text := d.LogOpts[prefix+"max-size"]; text == "-1" {
		r.MaxSize = 0
	} else if text != "" {
		size, err := units.ParseSize(text)
		if err != nil {
			return nil
		}
		r.MaxSize = int64(size)
	}
	if text := d.LogOpts[prefix+"max-file"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil
		}
		r.MaxFiles = n
	}
	if text := d.LogOpts[prefix+"compress"]; text != "" {
		r.Compress, _ = strconv.ParseBool(text) // the engine has refused what is none
	}
	return &r
}

// kept returns how many bytes the engine keeps, for the agent to read when it comes
// back, before it deletes the first; 0 = no limit.
func (r *Rotation) kept() int64 {
	if r.Compress {
		return r.MaxSize
	}
	return r.MaxSize * int64(r.MaxFiles)
}
