//go:build linux || darwin

package content

import (
	"math"

	"golang.org/x/sys/unix"
)

// DiskFree returns what an unprivileged program may still write where dir lies.
func DiskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(min(s.Bavail*uint64(s.Bsize), math.MaxInt64)), nil
}
