package ledger

import (
	"context"
	"net"
)

// Conn returns c as a connection that the account knows of until it is closed.
func Conn(ctx context.Context, a *Account, c net.Conn) net.Conn {
	k := &conn{Conn: c}
	k.held = Open(OwnerOf(ctx), a, k)
	return k
}

type conn struct {
	net.Conn
	held *Holding
}

func (c *conn) Close() error {
	c.held.Close()
	return c.Conn.Close()
}
