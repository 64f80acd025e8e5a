package process

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// FreePorts asks the system for n ports of 127.0.0.1 that nobody uses now. All
// stay open until the last is found, so that none is given twice.
func FreePorts(ctx context.Context, n int) (ports []int, err error) {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			err = errors.Join(err, l.Close())
		}
	}()
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		open = append(open, l)
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			ports = append(ports, a.Port)
		}
	}
	return ports, nil
}
