package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// captured counts the lines in the files that the agent writes beneath dir.
type captured struct {
	dir   string
	files map[string]*growing
	lines map[string]int64 // by id
}

type growing struct {
	offset int64
	rest   []byte // the begin of a line whose end is not there yet
}

func newCaptured(dir string) *captured {
	return &captured{dir: dir, files: map[string]*growing{}, lines: map[string]int64{}}
}

// count reads what was added since the last call and returns the lines by id. Files
// that were rotated away meanwhile are left to readAll: this is for the eye.
func (c *captured) count() (map[string]int64, error) {
	paths, err := logFiles(c.dir)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if strings.HasSuffix(path, ".log") {
			if err := c.read(path); err != nil {
				return nil, err
			}
		}
	}
	return c.lines, nil
}

func (c *captured) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	g := c.files[path]
	if info, err := f.Stat(); err != nil {
		return err
	} else if g == nil || info.Size() < g.offset {
		g = &growing{}
		c.files[path] = g
	}
	b, err := io.ReadAll(io.NewSectionReader(f, g.offset, 64<<20))
	if err != nil {
		return err
	}
	g.offset += int64(len(b))
	b = append(g.rest, b...)
	end := bytes.LastIndexByte(b, '\n') + 1
	g.rest = append([]byte(nil), b[end:]...)
	for l := range bytes.Lines(b[:end]) {
		if id, _, err := line.Parse(bytes.TrimSuffix(l, []byte("\n"))); err == nil {
			c.lines[id]++
		}
	}
	return nil
}

// readAll calls add for every line of every file beneath dir, compressed ones too.
func readAll(dir string, add func(path string, text []byte)) error {
	paths, err := logFiles(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := readFile(path, add); err != nil {
			return fmt.Errorf("read the captured %s: %w", path, err)
		}
	}
	return nil
}

func readFile(path string, add func(path string, text []byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".zst":
		z, err := zstd.NewReader(f)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		r = z
	}
	lines := bufio.NewReader(r)
	for {
		l, err := lines.ReadBytes('\n')
		if len(l) > 0 {
			add(path, bytes.TrimSuffix(l, []byte("\n")))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func logFiles(dir string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	return out, err
}
