package discover

import (
	"os"
	"regexp"
	"strings"
)

var (
	containerID = regexp.MustCompile(`[0-9a-f]{64}`)
	shortID     = regexp.MustCompile(`^[0-9a-f]{12}$`)
)

// ownContainer returns the id of the container that this process runs in, whole or its
// first 12 characters, or "" when it runs in none that can be told.
func ownContainer(hostname string) string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // absent outside Linux: then unknown
	groups, _ := os.ReadFile("/proc/self/cgroup")
	_, err := os.Stat("/.dockerenv")
	return ownID(string(mounts), string(groups), hostname, err == nil)
}

// ownID looks where Docker leaves a container's id. mountinfo is the surest: the
// engine mounts /etc/hostname and its like from the container's directory. (On the host
// the directories of other containers are mount points, never what is mounted there.)
func ownID(mountinfo, cgroup, hostname string, dockerenv bool) string {
	for line := range strings.Lines(mountinfo) {
		// proc_pid_mountinfo(5): id parent device root mountpoint …
		f := strings.Fields(line)
		if len(f) < 5 || f[4] != "/etc/hostname" && f[4] != "/etc/hosts" && f[4] != "/etc/resolv.conf" {
			continue
		}
		if _, after, ok := strings.Cut(f[3], "/containers/"); ok {
			if id := containerID.FindString(after); id != "" {
				return id
			}
		}
	}
	for line := range strings.Lines(cgroup) {
		if !strings.Contains(line, "docker") {
			continue
		}
		if ids := containerID.FindAllString(line, -1); len(ids) > 0 {
			return ids[len(ids)-1] // the innermost
		}
	}
	if dockerenv && shortID.MatchString(hostname) {
		return hostname
	}
	return ""
}
