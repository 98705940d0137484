package deadletter

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// file is one file of dead letters.
type file struct {
	id          uint64
	size, lines int64
	begun       time.Time // of the active file
	newest      time.Time // the latest last try of its letters
	busy        bool      // an Edit has it, the caps must leave it
}

const (
	suffix  = ".ndjson"
	rewrite = ".new" // of a file that is being written anew
)

func (f *file) name() string { return fmt.Sprintf("%012d", f.id) + suffix }

func fileID(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 12 {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil
}

func without(files []*file, f *file) []*file {
	return slices.DeleteFunc(files, func(other *file) bool { return other == f })
}

// load counts what is in the directory. A new process always begins a new file.
func (w *Writer) load() error {
	names, err := w.fs.List()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, suffix+rewrite) {
			if err := w.fs.Remove(name); err != nil {
				return err
			}
		}
		id, ok := fileID(name)
		if !ok {
			continue
		}
		w.nextID = id + 1
		f := &file{id: id}
		if err := w.look(f); err != nil {
			return err
		}
		if f.lines > 0 {
			w.files = append(w.files, f)
		} else if err := w.fs.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// look counts the whole lines of a file and cuts what follows the last of them. A NUL is
// in no line: where one is, a power cut took pages that had not been synced, and nothing
// that follows was taken.
func (w *Writer) look(f *file) error {
	file, err := w.fs.Open(f.name(), 0)
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err == nil {
		err = eachLine(file, size, func(_ int, line []byte) bool {
			if bytes.IndexByte(line, 0) >= 0 {
				return false
			}
			f.count(line)
			return true
		})
	}
	if err == nil && f.size < size {
		err = file.Truncate(f.size)
	}
	if f.newest.IsZero() {
		f.newest = w.now() // nothing says how old it is
	}
	return errors.Join(err, file.Close())
}

// count adds a line, which is without its newline.
func (f *file) count(line []byte) {
	f.lines++
	f.size += int64(len(line)) + 1
	i := bytes.LastIndex(line, []byte(lastTry))
	if i < 0 {
		return
	}
	text := bytes.Trim(line[i+len(lastTry):], `"}`)
	if at, err := time.Parse(time.RFC3339Nano, string(text)); err == nil && at.After(f.newest) {
		f.newest = at
	}
}

// eachLine calls fn with the whole lines of the first size bytes, without their
// newlines, until it returns false. The bytes are fn's until it returns.
func eachLine(r io.ReaderAt, size int64, fn func(n int, line []byte) bool) error {
	lines := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	var long []byte
	for n := 0; ; {
		part, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(long) > 0 {
			long = append(long, part...)
			part = long
		}
		if !fn(n, part[:len(part)-1]) {
			return nil
		}
		n, long = n+1, long[:0]
	}
}
