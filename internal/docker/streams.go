package docker

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// LogOptions says what of a container's log is wanted. Every record comes with its
// timestamp.
type LogOptions struct {
	// Follow waits for new records. The engine does it for a running container only.
	Follow bool
	// Since is the timestamp to start from, in ns since the epoch; 0 = from the start.
	Since int64
	// Until is the timestamp to end at, in ns since the epoch, inclusive; 0 = none.
	Until int64
	// Tail is the number of stored records, a piece of a long line counting as one, to
	// which the log is cut before Since applies; 0 = all of them, negative = none. Podman is
	// not asked for it.
	Tail int
	// Stdout and Stderr choose the outputs; neither means both.
	Stdout, Stderr bool
}

// Logs opens a container's log, to be decoded with NewDecoder. ctx bounds the body's
// whole life; the caller closes it. Errors: ErrNotFound, ErrConflict, ErrUnsupported,
// ErrUnreachable.
func (c *Client) Logs(ctx context.Context, id string, o LogOptions) (io.ReadCloser, error) {
	engine, err := c.negotiated(ctx)
	if err != nil {
		return nil, err
	}
	both := o.Stdout == o.Stderr
	query := client.ContainerLogsOptions{
		ShowStdout: o.Stdout || both, ShowStderr: o.Stderr || both, Timestamps: true, Follow: o.Follow,
	}
	if o.Since != 0 && c.Podman() {
		o.Since -= podmanSince
	}
	if o.Since != 0 {
		query.Since = time.Unix(0, o.Since).UTC().Format(time.RFC3339Nano)
	}
	if o.Until != 0 {
		query.Until = time.Unix(0, o.Until).UTC().Format(time.RFC3339Nano)
	}
	if o.Tail != 0 && !c.Podman() {
		query.Tail = strconv.Itoa(max(o.Tail, 0))
	}
	life, cancel := context.WithCancelCause(ctx)
	slow := time.AfterFunc(headerTimeout, func() { cancel(errSlow) })
	body, err := engine.ContainerLogs(life, id, query)
	if !slow.Stop() && err == nil {
		_ = body.Close()
		err = errSlow
	}
	if err != nil {
		cancel(nil)
		return nil, c.failed(ctx, "logs of", id, err)
	}
	s := newStream(ctx, body, cancel, &c.LogStreams)
	s.podman = c.Podman()
	return s, nil
}

// stream is a counted body.
type stream struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
	once   sync.Once
	held   *ledger.Holding
	podman bool
}

// Podman tells the decoder whose log it is.
func (s *stream) Podman() bool { return s.podman }

func newStream(ctx context.Context, body io.ReadCloser, cancel context.CancelCauseFunc, open *ledger.Account) *stream {
	s := &stream{ReadCloser: body, cancel: cancel}
	s.held = ledger.Open(ledger.OwnerOf(ctx), open, s)
	return s
}

// Close ends the stream and the goroutines behind it; it may be called twice.
func (s *stream) Close() error {
	var err error
	s.once.Do(func() {
		// Cancelled first: closing alone would read what is left, to keep the connection.
		s.cancel(nil)
		err = s.ReadCloser.Close()
		s.held.Close()
	})
	return err
}

// Event is what happened to a container.
type Event struct {
	// Action is create, start, oom, die, rename or destroy.
	Action string
	ID     string
	Name   string // without its leading slash; after a rename the new one
	Image  string
	// Labels holds the container's labels and the engine's own attributes of the event.
	Labels map[string]string
	// Time is the engine's, ns since the epoch.
	Time int64
	// ExitCode comes with a die; -1 = the event does not tell it.
	ExitCode int
}

const destroy = "destroy"

// EventStream delivers events in order. It has one user.
type EventStream struct {
	c      *Client
	cancel context.CancelFunc
	result client.EventsResult
	once   sync.Once
	held   *ledger.Holding
}

// Events subscribes to container events that happen from now on, or, as far as the
// engine still remembers them (256 events), since a time in ns since the epoch. ctx
// bounds the subscription, which the caller closes.
func (c *Client) Events(ctx context.Context, since int64) (*EventStream, error) {
	engine, err := c.negotiated(ctx)
	if err != nil {
		return nil, err
	}
	options := client.EventsListOptions{Filters: make(client.Filters).
		Add("type", "container").
		Add("event", "create", "start", "oom", "die", "rename", destroy, podmanDestroy)}
	if since != 0 {
		options.Since = fmt.Sprintf("%d.%09d", since/1e9, since%1e9)
	}
	life, cancel := context.WithCancel(ctx)
	slow := time.AfterFunc(headerTimeout, cancel)
	s := &EventStream{c: c, cancel: cancel}
	s.held = ledger.Open(ledger.OwnerOf(ctx), &c.EventStreams, s) // it has its connection from the call on
	s.result = engine.Events(life, options)
	slow.Stop()
	select {
	case err := <-s.result.Err: // refused before the first event
		s.Close()
		return nil, c.failed(ctx, "events", "", err)
	default:
		return s, nil
	}
}

// Next waits for the next event or the end of ctx, which does not end the stream. Any
// other error does: the caller closes it and subscribes again.
func (s *EventStream) Next(ctx context.Context) (Event, error) {
	select {
	case m := <-s.result.Messages:
		return eventOf(m), nil
	case err := <-s.result.Err:
		if err == nil {
			err = io.EOF
		}
		return Event{}, s.c.failed(ctx, "events", "", err)
	case <-ctx.Done():
		return Event{}, ctx.Err()
	}
}

// Close ends the subscription and waits for its goroutine; it may be called twice.
func (s *EventStream) Close() {
	s.once.Do(func() {
		s.cancel()
		for range s.result.Err { //nolint:revive // closed by the goroutine's last act
		}
		s.held.Close()
	})
}

func eventOf(m events.Message) Event {
	code, err := strconv.Atoi(m.Actor.Attributes["exitCode"])
	if err != nil {
		code = -1
	}
	action := string(m.Action)
	if action == podmanDestroy {
		action = destroy
	}
	return Event{
		Action: action,
		ID:     m.Actor.ID,
		Name:   strings.TrimPrefix(m.Actor.Attributes["name"], "/"),
		Image:  m.Actor.Attributes["image"],
		Labels: m.Actor.Attributes,
		Time:   m.TimeNano, ExitCode: code,
	}
}
