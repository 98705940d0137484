package cri

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Pod says whose log a file is.
type Pod struct {
	Namespace, Name, Container string

	UID     string // "" from a symlink's name, which does not hold it
	ID      string // of the container; "" from a path below pods, which does not hold it
	Attempt int    // how often the container was started before, in this pod; -1 if unknown
	Rotated bool   // the kubelet has renamed it: it is not written to any more
	Gzipped bool
}

var errPodPath = errors.New("it should end with <namespace>_<pod>_<uid>/<container>/<n>.log")

// ParsePath reads the path of a log below /var/log/pods, wherever that is mounted:
//
//	…/<namespace>_<pod>_<uid>/<container>/<n>.log[.<timestamp>[.gz]]
//
// The kubelet's unfinished ".tmp" files are refused.
func ParsePath(path string) (Pod, error) {
	fail := func(cause error) (Pod, error) { return Pod{}, fmt.Errorf("pod's log %s: %w", path, cause) }
	dir, file, ok := cutLast(path, "/")
	if !ok {
		return fail(errPodPath)
	}
	dir, container, ok := cutLast(dir, "/")
	if !ok || container == "" {
		return fail(errPodPath)
	}
	if _, last, ok := cutLast(dir, "/"); ok {
		dir = last
	}
	names := strings.Split(dir, "_") // no name of Kubernetes has one
	if len(names) != 3 || names[0] == "" || names[1] == "" || names[2] == "" {
		return fail(errPodPath)
	}
	p := Pod{Namespace: names[0], Name: names[1], UID: names[2], Container: container}
	attempt, suffix, ok := strings.Cut(file, ".log")
	if !ok || attempt == "" || strings.Trim(attempt, "0123456789") != "" {
		return fail(errPodPath)
	}
	var err error
	if p.Attempt, err = strconv.Atoi(attempt); err != nil {
		return fail(errPodPath)
	}
	suffix, p.Gzipped = strings.CutSuffix(suffix, ".gz")
	if suffix == "" && !p.Gzipped {
		return p, nil
	}
	if !isStamp(suffix) {
		return fail(fmt.Errorf("%q is not the timestamp of a rotated log (.20060102-150405)", suffix))
	}
	p.Rotated = true
	return p, nil
}

// isStamp tells whether text is .20060102-150405, by which the kubelet names rotated logs.
func isStamp(text string) bool {
	const shape = ".00000000-000000"
	if len(text) != len(shape) {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if '0' <= c && c <= '9' {
			c = '0'
		}
		if c != shape[i] {
			return false
		}
	}
	return true
}

// ParseLink reads the name of a symlink in /var/log/containers, with or without its
// directory: <pod>_<namespace>_<container>-<id>.log.
func ParseLink(path string) (Pod, error) {
	_, name, ok := cutLast(path, "/")
	if !ok {
		name = path
	}
	names := strings.Split(strings.TrimSuffix(name, ".log"), "_")
	if len(names) == 3 && strings.HasSuffix(name, ".log") {
		container, id, ok := cutLast(names[2], "-")
		if ok && names[0] != "" && names[1] != "" && container != "" && len(id) == 64 && strings.Trim(id, "0123456789abcdef") == "" {
			return Pod{Namespace: names[1], Name: names[0], Container: container, ID: id, Attempt: -1}, nil
		}
	}
	return Pod{}, fmt.Errorf("container's log %s: its name should be <pod>_<namespace>_<container>-<64 hexadecimal digits>.log", path)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
