package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/deadletter/office"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
)

func capsOf(cfg Config) office.Caps {
	c := cfg.Dispatcher.Dead
	return office.Caps{MaxBytes: int64(c.MaxBytes), MaxAge: c.MaxAge.Std()}
}

// openOffice makes the office over the lanes' dead letters; the lanes send.
func (a *agent) openOffice() (err error) {
	a.office, err = office.Open(a.cfg.DataDir, capsOf(a.cfg), a.letterBoxes(), a.log)
	return err
}

// letterBoxes returns the boxes of the lanes; a lane that stays keeps its own.
func (a *agent) letterBoxes() (boxes []*office.Box) {
	was := a.boxes
	a.boxes = map[string]*office.Box{}
	for _, l := range a.dispatcher.Lanes() {
		b := was[l.Name()]
		if b == nil || b.Letters != l.Letters() {
			b = &office.Box{Name: l.Name(), Letters: l.Letters(), Send: l.Resend}
		}
		a.boxes[l.Name()] = b
		boxes = append(boxes, b)
	}
	return boxes
}

// DeadLetters returns the dead letters of cfg's data_dir: through the API of the agent
// that runs on it or, when none does, those on disk, with sinks as cfg has them. In that
// case no agent can start before close.
func DeadLetters(cfg Config, info BuildInfo) (desk office.Desk, closeDesk func() error, err error) {
	path := filepath.Join(cfg.DataDir, "lock")
	was, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no agent has ever run on data_dir %s; give the configuration of the agent", cfg.DataDir)
	}
	var lock *os.File
	if err == nil {
		lock, err = lockDir(cfg.DataDir)
	}
	nothing := func() error { return nil }
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		return office.NewRemote(ask.At(cfg.Server.Listen, "an agent uses data_dir "+cfg.DataDir)), nothing, nil
	case errors.Is(err, fs.ErrPermission):
		return office.NewRemote(ask.At(cfg.Server.Listen, "this user cannot open data_dir "+cfg.DataDir)), nothing, nil
	case err != nil:
		return nil, nil, err
	case ownedByAnother(was):
		return nil, nil, errors.Join(fmt.Errorf("data_dir %s is another user's, who could not read what root writes there; run this as that user", cfg.DataDir), lock.Close())
	}
	log, _ := newLogger(cfg.Log, slog.LevelWarn)
	o := &files{agent: &agent{cfg: cfg, info: info, lock: lock, log: log}}
	if err := o.open(); err != nil {
		return nil, nil, errors.Join(err, o.close())
	}
	return o, o.close, nil
}

// ownedByAnother tells that files which root makes there would be in the agent's way.
func ownedByAnother(lock os.FileInfo) bool {
	owner, ok := lock.Sys().(*syscall.Stat_t)
	return ok && os.Geteuid() == 0 && owner.Uid != 0
}

// files is the dead letters on disk while no agent runs.
type files struct {
	*office.Office
	agent *agent // only what the sinks and the lock need
	boxes []*office.Box
	sinks []*lazySink
}

// open makes a box for each sink. Nothing is removed for a cap: that is the agent's.
func (o *files) open() (err error) {
	a := o.agent
	for _, name := range sinkNames(a.cfg.Sinks) {
		w, err := deadletter.Open(a.cfg.DataDir, name, deadletter.NoCap, deadletter.Options{})
		if err != nil {
			return err
		}
		s := &lazySink{build: func() (sink.Sink, error) { return newSink(a.cfg.Sinks[name], a.sinkDeps(name)) }}
		o.boxes = append(o.boxes, &office.Box{Name: name, Letters: w, Send: s.send})
		o.sinks = append(o.sinks, s)
	}
	o.Office, err = office.Open(a.cfg.DataDir, office.Caps{MaxBytes: deadletter.NoCap}, o.boxes, a.log)
	return err
}

func (o *files) close() error {
	var errs []error
	if o.Office != nil {
		errs = append(errs, o.Office.Close())
	}
	for _, b := range slices.Backward(o.boxes) {
		errs = append(errs, b.Letters.Close())
	}
	for _, s := range o.sinks {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, o.agent.lock.Close())...)
}

// lazySink is made when something is sent: to list letters no sink is needed.
type lazySink struct {
	build func() (sink.Sink, error)
	sink  sink.Sink
}

func (s *lazySink) send(ctx context.Context, views []record.View) error {
	if s.sink == nil {
		built, err := s.build()
		if err != nil {
			return err
		}
		s.sink = built
	}
	return s.sink.Send(ctx, views)
}

func (s *lazySink) close() error {
	if s.sink == nil {
		return nil
	}
	return s.sink.Close()
}
