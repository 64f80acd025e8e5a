package footprint

import (
	"errors"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/userfaultfd.h, of which x/sys has the number of the call alone.
const (
	uffdUserModeOnly   = 1
	uffdAPI            = 0xAA
	uffdioAPI          = 0xC018AA3F
	uffdioRegister     = 0xC020AA00
	uffdModeWP         = 1 << 1
	uffdFeatureWPAsync = 1 << 15
)

type (
	// uffdHandshake is struct uffdio_api.
	uffdHandshake struct{ api, features, ioctls uint64 }
	// uffdPart is struct uffdio_register.
	uffdPart struct{ start, size, mode, ioctls uint64 }
)

// singly has the pages of the program that are touched from now on mapped one at a
// time, until release. Linux maps 64 KB around each, of which a program of this size
// needs little: its code and tables lie in the order of their packages.
//
// It does so by what it must not do where writes to memory are watched: a part that is
// registered for that (userfaultfd(2), asynchronous: Linux 6.7 and later) has no page
// mapped that was not asked for. Nobody is told of anything, since nothing is
// protected. Where it is not allowed, as in containers with Docker's own list of calls,
// it is an error, and pages come as before.
func singly() (release func(), err error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK|uffdUserModeOnly, 0, 0)
	if errno != 0 {
		return func() {}, errno
	}
	release = sync.OnceFunc(func() { _ = unix.Close(int(fd)) })
	hello := uffdHandshake{api: uffdAPI, features: uffdFeatureWPAsync}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&hello))); errno != 0 {
		release()
		return func() {}, errno
	}
	parts := 0
	eachPart(func(from, to uintptr) {
		part := uffdPart{start: uint64(from), size: uint64(to - from), mode: uffdModeWP}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uffdioRegister, uintptr(unsafe.Pointer(&part)))
		if parts++; errno != 0 {
			err = errno
		}
	})
	if parts == 0 {
		err = errors.New("footprint: the program is not among what is mapped")
	}
	return release, err
}
