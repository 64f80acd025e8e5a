package memory

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Machine returns the main memory of this machine, in bytes.
func Machine() (int64, error) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, fmt.Errorf("memory of this machine: %w", err)
	}
	return int64(min(n, 1<<62)), nil //nolint:gosec // bounded
}

// Available cannot tell on this system.
func Available() (int64, error) {
	return 0, errors.New("available memory: not known on this system")
}
