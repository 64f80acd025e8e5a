package callwire

import (
	"errors"
	"fmt"
	"os"
)

var errSilent = errors.New("callwire: the server does not say whether it is there")

// Read reads from the connection. While a stream is silent it asks whether the server is
// there, so that one that is not is noticed as on gRPC's connections.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.ask == 0 {
		return c.conn.Read(p)
	}
	_ = c.conn.SetReadDeadline(now().Add(c.ask))
	n, err := c.conn.Read(p)
	if n > 0 || !timedOut(err) {
		return n, err
	}
	_ = c.conn.SetDeadline(now().Add(c.patience))
	if _, err := c.conn.Write([]byte(ping)); err != nil {
		return 0, fmt.Errorf("callwire: ask whether the server is there: %w", err)
	}
	if n, err = c.conn.Read(p); n == 0 && timedOut(err) {
		err = errSilent
	}
	return n, err
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
