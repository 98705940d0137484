package journal

import (
	"path"
	"slices"
	"strings"
)

// plain tells whether none of the names is a glob.
func plain(names []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return strings.ContainsAny(n, "*?[") })
}

// takes tells whether entries of a unit are read; "" is that of an entry without one.
func (c Choice) takes(unit string) bool {
	return (len(c.Units) == 0 || matches(c.Units, unit)) && !matches(c.ExcludeUnits, unit)
}

func matches(globs []string, unit string) bool {
	return unit != "" && slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(glob, unit)
		return glob == unit || ok && err == nil // names may have backslashes, which are no glob's
	})
}

// label returns the unit as a label. Names that systemd or programs make for a moment, and
// never again, would be streams without end: of those the kind is told.
func label(unit string) string {
	name, kind := unit, ""
	if i := strings.LastIndexByte(unit, '.'); i >= 0 {
		name, kind = unit[:i], unit[i:]
	}
	switch {
	case kind == ".scope": // session-42.scope, docker-….scope
		name, _, _ = strings.Cut(name, "-")
	case strings.HasPrefix(name, "run-"): // of systemd-run
		name = "run"
	default:
		// systemd-coredump@7-1234-0.service, and what sockets make for each connection:
		// sshd@3-10.0.0.1:22-10.0.0.2:1234.service. Instances with a name of their own stay.
		if template, instance, ok := strings.Cut(name, "@"); ok && momentary(instance) {
			name = template + "@"
		}
	}
	return name + kind
}

// momentary tells the names that systemd makes of a counter, a dash, and more.
func momentary(instance string) bool {
	n := 0
	for n < len(instance) && instance[n] >= '0' && instance[n] <= '9' {
		n++
	}
	return n > 0 && n < len(instance) && instance[n] == '-'
}
