package discover

import (
	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/docker"
)

// all tells whether a container matches every list of the filter that is not empty.
func (f Filter) all(d docker.Details) bool {
	return (len(f.Names) == 0 || anyGlob(f.Names, d.Name)) &&
		(len(f.Images) == 0 || anyGlob(f.Images, d.Image)) &&
		(len(f.Labels) == 0 || allLabels(f.Labels, d.Labels))
}

// any tells whether a container matches one of the lists.
func (f Filter) any(d docker.Details) bool {
	return anyGlob(f.Names, d.Name) || anyGlob(f.Images, d.Image) ||
		len(f.Labels) > 0 && allLabels(f.Labels, d.Labels)
}

func anyGlob(globs []string, text string) bool {
	for _, glob := range globs {
		if glob == "*" || doublestar.MatchUnvalidated(glob, text) {
			return true
		}
	}
	return false
}

func allLabels(globs, labels map[string]string) bool {
	for name, glob := range globs {
		value, ok := labels[name]
		if !ok || !anyGlob([]string{glob}, value) {
			return false
		}
	}
	return true
}
