package tail

import (
	"errors"

	"golang.org/x/sys/unix"
)

// The descriptors that logs leave to everything else: one in spareShare, at most mostSpare.
// Without a connection to the engine the agent would not learn which containers are gone,
// and keep their logs open for ever.
const (
	spareShare = 4
	mostSpare  = 64
)

// scarce tells whether a descriptor that was just opened is one of those. The kernel gives
// the lowest number that is free, so the number tells how many are in use.
func scarce(fd int) bool {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return false
	}
	most := uint64(limit.Cur) //nolint:unconvert // signed on some systems
	return uint64(fd) >= most-min(most/spareShare, mostSpare)
}

// shortage tells whether a file could not be opened for want of descriptors: it may be
// there.
func shortage(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }
