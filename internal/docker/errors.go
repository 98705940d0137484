package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// What a call's error can be told apart by, with errors.Is.
var (
	// ErrNotFound: there is no such container (any more).
	ErrNotFound = errors.New("no such container")
	// ErrConflict: the container is being removed.
	ErrConflict = errors.New("the container is being removed")
	// ErrUnsupported: the container's log driver keeps nothing that can be read.
	ErrUnsupported = errors.New("the log driver cannot be read")
	// ErrUnreachable: the engine does not answer; the call is worth trying again.
	ErrUnreachable = errors.New("the Docker Engine cannot be reached; is it running, and may this user use its socket?")
)

// errTLS is an ErrUnreachable of which the cause is known.
type errTLS struct{}

func (errTLS) Error() string {
	return "no TLS connection to the Docker Engine; let DOCKER_CERT_PATH name the directory of ca.pem, cert.pem and key.pem that the engine accepts, and set DOCKER_TLS_VERIFY=1"
}

func (errTLS) Is(target error) bool { return target == ErrUnreachable }

// failed gives err the operation, the object and a kind. An end of the caller's own
// context is returned as it is.
func (c *Client) failed(ctx context.Context, op, id string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind := kindOf(err)
	// A daemon that went away may come back as another version; one that refuses a
	// request may no longer be the one that was negotiated with.
	if errors.Is(kind, ErrUnreachable) || errdefs.IsInvalidArgument(err) {
		c.suspect()
	}
	at := "docker " + op
	if id != "" {
		at += " " + ShortID(id)
	}
	if kind == nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return fmt.Errorf("%s: %w: %w", at, kind, err)
}

func kindOf(err error) error {
	var netErr net.Error
	switch {
	case aboutTLS(err):
		return errTLS{}
	case errdefs.IsNotFound(err):
		return ErrNotFound
	case errdefs.IsConflict(err):
		return ErrConflict
	case errdefs.IsNotImplemented(err):
		return ErrUnsupported
	case client.IsErrConnectionFailed(err), errors.As(err, &netErr), errors.Is(err, errSlow),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errdefs.IsUnavailable(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrUnreachable
	}
	return nil
}

// aboutTLS tells whether one side did not like the other's certificate or the lack of
// one. The standard library has no type for what a peer reports.
func aboutTLS(err error) bool {
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") ||
		strings.Contains(text, "HTTP request to an HTTPS server")
}

// ShortID returns the first 12 characters of a container's id, as docker ps shows it.
func ShortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
