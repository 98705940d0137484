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
	"path/filepath"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// FileName is the store's name in data_dir; its previous generation has ".prev" behind it.
const FileName = "positions"

// The other names in data_dir.
const (
	previous  = FileName + ".prev"
	temporary = FileName + ".tmp"
	link      = FileName + ".link"
)

// SaveInterval is how often Run writes what has changed. After a crash of the agent
// at most what was acknowledged in that time is read again.
const SaveInterval = time.Second

// Every version keeps the form of the first line, so that a later one can be told from
// damage.
const (
	version = 1
	header  = "log_capturer positions v%d crc32c=%08x\n"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Store keeps the acknowledged cursors of all sources and writes them to disk:
// temporary file, fsync, rename, fsync of the directory. It is safe for concurrent use.
type Store struct {
	fs  FS
	dir string // for messages
	log *slog.Logger
	// Tickers are those that run.
	Tickers ledger.Account

	mu      sync.Mutex
	cursors map[string]Cursor
	changed uint64 // counts changes
	saved   uint64 // value of changed at the last save
	failure error  // of the last save
	saving  sync.Mutex
}

// errVersion tells of a file that a later program wrote.
var errVersion = errors.New("it was written by a later version")

// OpenStore reads the positions in dir. A damaged file, or one of a later version, is put
// aside with a warning, one that the disk cannot read is left, and the previous generation
// is used. Where that has another version or cannot be read either, the error says so and
// nothing is changed; where both are damaged or none is there, everything is read from
// the start.
func OpenStore(dir string, log *slog.Logger) (*Store, error) {
	return OpenStoreFS(dirFS(dir), dir, log)
}

// OpenStoreFS is OpenStore on another disk; dir is for its messages.
func OpenStoreFS(disk FS, dir string, log *slog.Logger) (*Store, error) {
	s := &Store{fs: disk, dir: dir, log: log, cursors: map[string]Cursor{}}
	cursors, err := s.load(FileName)
	if err != nil {
		var prevErr error
		if cursors, prevErr = s.load(previous); prevErr != nil {
			return s, s.neither(err, prevErr)
		}
		if err := s.putAside(FileName, err); err != nil {
			return nil, err
		}
	}
	s.cursors = cursors
	return s, nil
}

// neither decides what to do without a generation that can be used: an error where a
// person can still get at the positions.
func (s *Store) neither(err, prevErr error) error {
	for name, err := range map[string]error{FileName: err, previous: prevErr} {
		path := s.path(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errDamaged):
		case errors.Is(err, errVersion):
			return fmt.Errorf("read positions %s: %w; nothing was changed: run the version that wrote it, or move the file away to read every log from its start", path, err)
		default:
			return fmt.Errorf("read positions %s: %w; run as the user who owns data_dir, on a disk that works, or move the file away to read every log from its start", path, err)
		}
	}
	return errors.Join(s.putAside(FileName, err), s.putAside(previous, prevErr))
}

// path returns the path of a file, for messages.
func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// putAside keeps a file that cannot be used under another name.
func (s *Store) putAside(name string, why error) error {
	suffix := ".damaged"
	switch {
	case errors.Is(why, fs.ErrNotExist):
		return nil
	case errors.Is(why, errVersion):
		suffix = ".later"
	case !errors.Is(why, errDamaged): // it may be readable again; the next save replaces it
		s.log.Warn("positions cannot be read; using the generation before, some entries may be sent again", "file", s.path(name), "error", why)
		return nil
	}
	s.log.Warn("positions are put aside; going on without them, some entries may be sent again", "file", s.path(name), "kept_as", s.path(name+suffix), "error", why)
	if err := s.fs.Rename(name, name+suffix); err != nil {
		return fmt.Errorf("put aside positions %s: %w", s.path(name), err)
	}
	return nil
}

var errDamaged = errors.New("it is damaged")

func (s *Store) load(name string) (map[string]Cursor, error) {
	data, err := s.fs.Read(name)
	if err != nil {
		return nil, err
	}
	line, body, ok := bytes.Cut(data, []byte("\n"))
	var v int
	var sum uint32
	if _, err := fmt.Sscanf(string(line)+"\n", header, &v, &sum); err != nil || !ok {
		return nil, fmt.Errorf("%w: its first line is %.60q", errDamaged, line)
	}
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return nil, fmt.Errorf("%w: its checksum is %08x, its first line says %08x", errDamaged, got, sum)
	}
	if v > version {
		return nil, fmt.Errorf("%w (%d; this program knows %d)", errVersion, v, version)
	}
	cursors := map[string]Cursor{}
	if err := json.Unmarshal(body, &cursors); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
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
	tick := ledger.NewTicker(ctx, &s.Tickers, SaveInterval)
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
	if err := s.write(append(fmt.Appendf(nil, header, version, crc32.Checksum(body, castagnoli)), body...)); err != nil {
		return fmt.Errorf("save positions %s: %w; free some space or mend the permissions of data_dir", s.path(FileName), err)
	}
	s.mu.Lock()
	s.saved = changed
	s.mu.Unlock()
	return nil
}

func (s *Store) write(data []byte) error {
	f, err := s.createNew(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := s.keepPrevious(); err != nil {
		return err
	}
	if err := s.fs.Rename(temporary, FileName); err != nil {
		return err
	}
	return s.fs.Sync()
}

// createNew makes a file that nobody has written to: of one whose fsync failed nobody
// knows what a further one would tell.
func (s *Store) createNew(name string) (File, error) {
	if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s.fs.Create(name)
}

// keepPrevious links the current generation to .prev, so that there is a valid file
// under one of the two names at any moment. Without a current one .prev stays.
func (s *Store) keepPrevious() error {
	if err := s.fs.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch err := s.fs.Link(FileName, link); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return s.fs.Rename(link, previous)
}
