package position

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// FileName is the store's name in data_dir; its previous generation has ".prev" behind it.
const FileName = "positions"

// SaveInterval is how often Run writes what has changed. After a crash of the agent
// at most what was acknowledged in that time is read again.
const SaveInterval = time.Second

const header = "log_capturer positions v1 crc32c=%08x\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store keeps the acknowledged cursors of all sources and writes them to disk:
// temporary file, fsync, rename, fsync of the directory. It is safe for concurrent use.
type Store struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	cursors map[string]Cursor
	changed uint64 // counts changes
	saved   uint64 // value of changed at the last save
	failure error  // of the last save
	saving  sync.Mutex
}

// OpenStore reads the positions in dir. A damaged file is put aside with a warning
// and the previous generation is used; with neither, everything is read from the start.
func OpenStore(dir string, log *slog.Logger) (*Store, error) {
	s := &Store{path: filepath.Join(dir, FileName), log: log, cursors: map[string]Cursor{}}
	for _, path := range []string{s.path, s.path + ".prev"} {
		cursors, err := load(path)
		if err == nil {
			s.cursors = cursors
			return s, nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read positions %s: %w; run as the user who owns data_dir", path, err)
		}
		log.Warn("positions are damaged; using the generation before, some entries may be sent again", "file", path, "error", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return nil, fmt.Errorf("put aside damaged positions %s: %w", path, err)
		}
	}
	return s, nil
}

func load(path string) (map[string]Cursor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	line, body, ok := bytes.Cut(data, []byte("\n"))
	var sum uint32
	if _, err := fmt.Sscanf(string(line)+"\n", header, &sum); err != nil || !ok {
		return nil, fmt.Errorf("first line %.60q is not that of a positions file", line)
	}
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("checksum is %08x, the header says %08x", got, sum)
	}
	cursors := map[string]Cursor{}
	if err := json.Unmarshal(body, &cursors); err != nil {
		return nil, err
	}
	return cursors, nil
}

// Get returns the cursor of a source, the zero one if it was never seen.
func (s *Store) Get(id string) Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursors[id]
}

// Set notes a source's new cursor; the next save writes it.
func (s *Store) Set(id string, c Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[id] = c
	s.changed++
}

// Remove forgets a source.
func (s *Store) Remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.cursors[id]; ok {
		delete(s.cursors, id)
		s.changed++
	}
}

// All returns a copy of all cursors by source ID.
func (s *Store) All() map[string]Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.cursors)
}

// Run saves what has changed every SaveInterval until ctx ends. The caller saves
// once more when all acknowledgements are in.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(SaveInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.Save()
		if err != nil && !failing {
			s.log.Error("positions cannot be saved; entries may be sent again after a restart", "error", err)
		}
		failing = err != nil
	}
}

// Err returns why the last save failed, nil if it did not.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Save writes the cursors if any has changed since the last save.
func (s *Store) Save() (err error) {
	s.saving.Lock()
	defer s.saving.Unlock()
	defer func() {
		s.mu.Lock()
		s.failure = err
		s.mu.Unlock()
	}()
	s.mu.Lock()
	if s.changed == s.saved {
		s.mu.Unlock()
		return nil
	}
	changed := s.changed
	body, err := json.Marshal(s.cursors)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode positions: %w", err)
	}
	if err := s.write(append(fmt.Appendf(nil, header, crc32.Checksum(body, castagnoli)), body...)); err != nil {
		return fmt.Errorf("save positions %s: %w; free some space or mend the permissions of data_dir", s.path, err)
	}
	s.mu.Lock()
	s.saved = changed
	s.mu.Unlock()
	return nil
}

func (s *Store) write(data []byte) error {
	tmp := s.path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := keepPrevious(s.path); err != nil {
		return err
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(s.path))
}

// keepPrevious links the current generation to .prev, so that there is a valid file
// under one of the two names at any moment.
func keepPrevious(path string) error {
	prev := path + ".prev"
	if err := os.Remove(prev); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, prev); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
