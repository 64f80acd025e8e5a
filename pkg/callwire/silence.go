package callwire

import (
	"errors"
	"fmt"
	"os"

	"github.com/poterne/poterne/pkg/quietconn"
)

var errSilent = errors.New("callwire: the server does not say whether it is there")

// Read reads from the connection. While a stream is silent it asks whether the server is
// there, so that one that is not is noticed as on gRPC's connections.
func (c *clientConn) Read(p []byte) (int, error) {
	var n int
	err := c.listen(func() (err error) {
		if n, err = c.conn.Read(p); n > 0 {
			err = nil // the next read has it
		}
		return err
	})
	return n, err
}

// listen waits by a read that fails only when nothing has come.
func (c *clientConn) listen(read func() error) error {
	if c.ask == 0 {
		return read()
	}
	_ = c.conn.SetReadDeadline(now().Add(c.ask))
	err := read()
	if !timedOut(err) {
		return err
	}
	_ = c.conn.SetDeadline(now().Add(c.patience))
	if _, err := c.conn.Write([]byte(ping)); err != nil {
		return fmt.Errorf("callwire: ask whether the server is there: %w", err)
	}
	if err = read(); timedOut(err) {
		err = errSilent
	}
	return err
}

// waiter reads of what the connection is on, as Read does; nil: of conn alone.
func (c *clientConn) waiter() quietconn.Waiter {
	w := quietconn.RawOf(c.conn)
	if w == nil {
		return nil
	}
	return asking{c, w}
}

type asking struct {
	*clientConn
	kernel quietconn.Waiter
}

func (a asking) Read(step func(fd uintptr) bool) error {
	return a.listen(func() error { return a.kernel.Read(step) })
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
