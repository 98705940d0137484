package crash

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// blackbox is a journal in memory that is shared through a file: what was noted is there
// after SIGKILL, and noting is no system call.
type blackbox struct {
	mem  []byte
	next *atomic.Int64
}

const blackboxBytes = 1 << 20

func openBlackbox(path string) (*blackbox, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(blackboxBytes); err != nil {
		return nil, err
	}
	return mapBlackbox(f)
}

// mapBlackbox is for a victim, who makes no system calls for it that could be made to fail.
func mapBlackbox(f *os.File) (*blackbox, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, blackboxBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &blackbox{mem: mem, next: (*atomic.Int64)(unsafe.Pointer(&mem[0]))}, nil
}

func (b *blackbox) note(k kind, source int, n int64) {
	at := int(b.next.Add(1)) * 8
	if at+8 > len(b.mem) {
		return // the test asks whether it was enough
	}
	word := (*atomic.Uint64)(unsafe.Pointer(&b.mem[at]))
	word.Store(uint64(k)<<60 | uint64(source)<<52 | uint64(n))
}

func (b *blackbox) close() error { return unix.Munmap(b.mem) }

// readBlackbox returns what was noted; enough is false when it was full.
func readBlackbox(path string) (l *ledger, enough bool, err error) {
	mem, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	l = newLedger()
	words := int(binary.NativeEndian.Uint64(mem))
	for i := 1; i <= words && i*8+8 <= len(mem); i++ {
		w := binary.NativeEndian.Uint64(mem[i*8:])
		l.add(kind(w>>60), int(w>>52&0xff), int64(w&(1<<52-1)))
	}
	return l, words*8+8 <= len(mem), nil
}
