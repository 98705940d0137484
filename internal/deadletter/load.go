package deadletter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/logcapturer/log_capturer/internal/spool"
)

// file is one file of dead letters.
type file struct {
	id          uint64
	size, lines int64
}

const suffix = ".ndjson"

func (f *file) name() string { return fmt.Sprintf("%012d", f.id) + suffix }

func fileID(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 12 {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil
}

// load counts what is in the directory. A new process always begins a new file.
func (w *Writer) load() error {
	names, err := w.fs.List()
	if err != nil {
		return err
	}
	slices.Sort(names)
	buf := make([]byte, 64<<10)
	for _, name := range names {
		id, ok := fileID(name)
		if !ok {
			continue
		}
		w.nextID = id + 1
		f := &file{id: id}
		if err := w.look(f, buf); err != nil {
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
func (w *Writer) look(f *file, buf []byte) error {
	file, err := w.fs.Open(f.name(), 0)
	if err != nil {
		return err
	}
	size, err := file.Size()
	if err == nil {
		err = count(file, f, buf)
	}
	if err == nil && f.size < size {
		err = file.Truncate(f.size)
	}
	return errors.Join(err, file.Close())
}

func count(r spool.File, f *file, buf []byte) error {
	for off := int64(0); ; {
		n, err := r.ReadAt(buf, off)
		b := buf[:n]
		nul := bytes.IndexByte(b, 0)
		if nul >= 0 {
			b = b[:nul]
		}
		f.lines += int64(bytes.Count(b, []byte{'\n'}))
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			f.size = off + int64(i) + 1
		}
		off += int64(n)
		if nul >= 0 || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
