//go:build unix

package segment

import "golang.org/x/sys/unix"

// unneeded takes mapped pages out of the process's memory; what reads them gets
// them again. That it may not be possible is no reason to fail.
func unneeded(mapped []byte) { _ = unix.Madvise(mapped, unix.MADV_DONTNEED) }
