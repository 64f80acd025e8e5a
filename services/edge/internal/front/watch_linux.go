package front

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watcher tells of peers that have left, by one epoll instance for all connections. A
// goroutine for each that reads, as net/http has it, would cost a stack and two
// switches a request.
type watcher struct {
	file *os.File
	raw  syscall.RawConn
}

// newWatcher returns a watcher that tells left the tokens of connections whose peer has
// closed its side, or is gone.
func newWatcher(left func(token uint64)) (*watcher, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime waits for it as for any other file, so that no thread has to.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "epoll")}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		_ = w.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	go w.run(left)
	return w, nil
}

func (w *watcher) run(left func(uint64)) {
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := w.raw.Read(func(fd uintptr) bool {
			var err error
			if n, err = unix.EpollWait(int(fd), events[:], 0); err != nil {
				n = 0
			}
			return n > 0 || errors.Is(err, unix.EINTR)
		})
		if err != nil {
			return // it was closed
		}
		for _, e := range events[:n] {
			left(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// add watches a connection until it is closed.
func (w *watcher) add(raw syscall.RawConn, token uint64) error {
	e := unix.EpollEvent{
		Events: unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLET,
		Fd:     int32(uint32(token)), Pad: int32(uint32(token >> 32)),
	}
	return w.control(raw, unix.EPOLL_CTL_ADD, &e)
}

// remove watches it no more.
func (w *watcher) remove(raw syscall.RawConn) { _ = w.control(raw, unix.EPOLL_CTL_DEL, nil) }

func (w *watcher) control(raw syscall.RawConn, op int, e *unix.EpollEvent) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		if werr := w.raw.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), e) }); werr != nil {
			err = werr
		}
	}); cerr != nil {
		err = cerr
	}
	return err
}

func (w *watcher) close() { _ = w.file.Close() }
