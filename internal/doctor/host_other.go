//go:build !linux

package doctor

import "golang.org/x/sys/unix"

func tryWrite(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }

func tryInotify() error { return nil }

func inotifyLimit(string) int { return 0 }
