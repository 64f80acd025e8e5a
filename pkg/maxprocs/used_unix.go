//go:build unix

package maxprocs

import (
	"time"

	"golang.org/x/sys/unix"
)

// used is the processor time of the process so far, its calls of the system included.
func used() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
