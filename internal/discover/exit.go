package discover

import (
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

const (
	// startLag is how long after a container's start its start event may come, and endLag
	// how long after its end its die event: the engine waits up to 2 s for the container's
	// outputs and 10 s for what copies them to the log.
	startLag = 2 * time.Second
	endLag   = 15 * time.Second
	// againLag is the least time between an end and the next start: the engine pauses for
	// 100 ms and more before it starts a container again.
	againLag = 90 * time.Millisecond
	// killed is the exit code of a process that was killed, for want of memory among others.
	killed = 137
)

// exitOf returns how the container's last run ended; nil while it runs, or when it is
// not known or not to be told.
func exitOf(d docker.Details, o options) *source.Exit {
	if !o.exits || d.Running && !d.Restarting || d.Finished.IsZero() {
		return nil
	}
	return &source.Exit{Time: d.Finished, Code: d.ExitCode, OOM: d.OOMKilled}
}

func sameExit(a, b *source.Exit) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Time.Equal(b.Time) && a.Code == b.Code && a.OOM == b.OOM
}

// merge returns the details d of a container of which known was known. The times of
// events are a little later than those of an inspect; the former stay where both mean
// the same run, because a change of them means another one.
func merge(known, d docker.Details) docker.Details {
	if d.Running && !d.Restarting {
		d.Finished, d.ExitCode = time.Time{}, 0 // of the run before
	}
	if !known.Started.IsZero() && !d.Started.After(known.Started) {
		d.Started, d.OOMKilled = known.Started, known.OOMKilled || d.OOMKilled
	}
	if !d.Finished.IsZero() && !d.Finished.After(known.Finished) {
		d.Finished = known.Finished
	}
	return d
}

// past tells whether an event is of what an inspect has told already. (Both come on
// their own connections, so an inspect may be ahead of the events.)
func (k *container) past(action string, at time.Time) bool {
	d := &k.details
	if !k.inspected {
		return false
	}
	ended := !d.Finished.IsZero() && (!d.Running || d.Restarting)
	switch action {
	case "start":
		if d.Started.IsZero() {
			return false
		}
		limit := d.Started.Add(startLag)
		if ended {
			limit = d.Finished.Add(againLag)
			if d.Finished.Before(d.Started) { // the engine notes the start of a brief run after its end
				limit = d.Started.Add(againLag)
			}
		}
		return at.Before(limit)
	case "die":
		return at.Before(d.Started) || ended && at.Before(d.Finished.Add(endLag))
	case "oom":
		return at.Before(d.Started)
	}
	return false
}

// ran takes in an event of a container's run and tells whether the target changed.
func (c *Containers) ran(k *container, e docker.Event) bool {
	at := time.Unix(0, e.Time)
	if k.past(e.Action, at) {
		return false
	}
	return c.update(k, func(d *docker.Details) {
		k.inspected = k.inspected && e.Action == "oom"
		switch e.Action {
		case "start":
			d.Running, d.Restarting, d.Started = true, false, at
			d.Finished, d.ExitCode, d.OOMKilled = time.Time{}, 0, false
			k.unsure = false
		case "oom":
			d.OOMKilled = true // it may come before the end or, rarely, after it
		case "die":
			d.Running, d.Restarting = false, false
			if e.ExitCode >= 0 {
				d.Finished, d.ExitCode = at, e.ExitCode
			}
			// Not inspected at once: other events would wait, of containers that are gone soon.
			k.unsure = e.ExitCode < 0 || e.ExitCode == killed && !d.OOMKilled
		}
	})
}
