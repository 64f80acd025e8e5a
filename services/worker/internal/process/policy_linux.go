package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// asBatch has the calling thread, and what it starts until undo, be batch work to the
// scheduler (sched(7)), unless somebody gave it another policy than the usual one. Its
// share of the processors stays what it was.
func asBatch() (undo func() error, err error) {
	nothing := func() error { return nil }
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return nothing, fmt.Errorf("read the scheduling policy: %w", err)
	}
	if attr.Policy != unix.SCHED_NORMAL {
		return nothing, nil
	}
	attr.Policy = unix.SCHED_BATCH
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		return nothing, fmt.Errorf("set the scheduling policy: %w", err)
	}
	return func() error {
		attr.Policy = unix.SCHED_NORMAL
		return unix.SchedSetAttr(0, attr, 0)
	}, nil
}
