//go:build !linux

package front

import (
	"errors"
	"syscall"
)

// watcher is for Linux only.
type watcher struct{}

func newWatcher(func(uint64)) (*watcher, error) { return nil, errors.ErrUnsupported }

func (*watcher) add(syscall.RawConn, uint64) error { return errors.ErrUnsupported }

func (*watcher) remove(syscall.RawConn) {}

func (*watcher) close() {}
