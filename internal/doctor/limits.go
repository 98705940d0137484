package doctor

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

const (
	// reserve is the descriptors for connections, spools, positions and the like.
	reserve = 64
	// nearly is the share of a limit from which on it is too close, in percent.
	nearly = 80
)

// limits compares what the agent will need with what this process may have. It is not
// known when some containers were left out by a glob.
func limits(n need, some bool) []Check {
	if some {
		return []Check{{sectionLimits, "need", ok("not estimated for some of the containers; leave out --container")}}
	}
	checks := []Check{{sectionLimits, "descriptors", descriptors(n.descriptors + reserve)}}
	if watches := inotifyLimit("max_user_watches"); watches > 0 {
		checks = append(checks, Check{sectionLimits, "inotify", inotify(n.watches, watches, inotifyLimit("max_user_instances"), tryInotify())})
	}
	return checks
}

// descriptors judges RLIMIT_NOFILE; the Go runtime raises the soft limit to the hard
// one, for the agent as for this process.
func descriptors(need int) Finding {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return warn("the limit of descriptors cannot be told: "+err.Error(), "see 'ulimit -n'")
	}
	return judgeDescriptors(need, uint64(limit.Cur)) //nolint:unconvert // its type depends on the system
}

func judgeDescriptors(need int, limit uint64) Finding {
	if limit > 1<<62 {
		return ok(fmt.Sprintf("no limit; about %d needed", need))
	}
	found := fmt.Sprintf("limit %d, about %d needed", limit, need)
	fix := fmt.Sprintf("raise it to %d: LimitNOFILE= in the systemd unit, --ulimit nofile= for a container, or ulimit -n", 2<<bits.Len(uint(need)))
	switch {
	case uint64(need) > limit:
		return fail(found, fix)
	case uint64(need)*100 > limit*nearly:
		return warn(found, fix)
	}
	return ok(found)
}

// inotify judges the limits of watches and instances, of which the agent takes one. The
// agent can do without: it looks every few seconds then.
func inotify(need, watches, instances int, try error) Finding {
	found := fmt.Sprintf("limit %d watches, about %d needed; %d instances, 1 needed", watches, need, instances)
	const slow = "; without inotify the agent looks every few seconds, and may miss what rotates faster"
	switch {
	case errors.Is(try, unix.EMFILE):
		return warn("all instances of this user are taken ("+found+")"+slow, "sysctl fs.inotify.max_user_instances="+fmt.Sprint(max(1024, 2*instances)))
	case errors.Is(try, unix.ENOSPC):
		return warn("all watches of this user are taken ("+found+")"+slow, "sysctl fs.inotify.max_user_watches="+fmt.Sprint(max(524288, 2*watches)))
	case try != nil:
		return warn("inotify cannot be used: "+try.Error()+slow, "check that the kernel and the container's seccomp profile allow it")
	case need*100 > watches*nearly:
		return warn(found+slow, "sysctl fs.inotify.max_user_watches="+fmt.Sprint(max(524288, 2*watches)))
	}
	return ok(found)
}
