package dockertest

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// Pipe is a listener in memory, for an engine and its clients inside one
// testing/synctest bubble. Its connections have no buffers: what one side writes, the
// other reads.
type Pipe struct {
	mu     sync.Mutex
	dialed chan net.Conn // of the present listener
	closed chan struct{}
}

// NewPipe returns an open listener.
func NewPipe() *Pipe {
	p := &Pipe{}
	p.open()
	return p
}

// open opens it, again if it was closed.
func (p *Pipe) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		select {
		case <-p.closed:
		default:
			return
		}
	}
	p.dialed, p.closed = make(chan net.Conn), make(chan struct{})
}

func (p *Pipe) state() (chan net.Conn, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dialed, p.closed
}

// Dial connects; it fits docker.NewWithDial. Without a listener it is refused.
func (p *Pipe) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	dialed, closed := p.state()
	near, far := net.Pipe()
	select {
	case dialed <- far:
		return near, nil
	case <-closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the next connection.
func (p *Pipe) Accept() (net.Conn, error) {
	dialed, closed := p.state()
	select {
	case conn := <-dialed:
		return conn, nil
	case <-closed:
		return nil, net.ErrClosed
	}
}

// Close refuses connections from now on.
func (p *Pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

// Addr returns pipe.
func (p *Pipe) Addr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "pipe:1" }
