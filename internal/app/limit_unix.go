//go:build unix

package app

import "golang.org/x/sys/unix"

// descriptorLimit returns how many descriptors the process may have; 0 = unknown.
func descriptorLimit() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
