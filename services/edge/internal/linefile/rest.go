package linefile

import "golang.org/x/sys/unix"

// Rest takes memory that is a file out of this process's resident set, for it will not
// be needed for a while. What is in it stays in the file, and what is touched comes
// back. It may be used while others write there.
func Rest(mem []byte) {
	// On a mapping that is shared nothing is lost by it, whatever its name says.
	_ = unix.Madvise(mem, unix.MADV_DONTNEED)
}
