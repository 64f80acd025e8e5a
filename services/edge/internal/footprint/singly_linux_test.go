package footprint

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// programAfterWork is how much of the program is mapped when all of it was dropped and
// a collection has looked at the stacks.
func programAfterWork() int {
	runtime.GC()
	dropProgram()
	runtime.GC()
	return resident() - anonymous()
}

// Pages that lie beside those that are touched stay away.
func TestPagesAreMappedSingly(t *testing.T) {
	before := programAfterWork()
	release, err := singly()
	defer release()
	if err != nil {
		if mayFail(t, err) {
			return // it is best effort, and its error is what is looked at here
		}
		t.Fatal(err)
	}
	if after := programAfterWork(); after > before*3/4 {
		t.Errorf("%d KB of the program are mapped, %d before", after>>10, before>>10)
	}
	release()
	if again := programAfterWork(); again < before*3/4 {
		t.Errorf("%d KB of the program are mapped after its end, %d before", again>>10, before>>10)
	}
}

// mayFail tells whether this system has no such thing: it forbids it, or is older than
// Linux 6.7.
func mayFail(t *testing.T, err error) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	for i, at := 0, &major; i < len(u.Release) && at != nil; i++ {
		switch c := u.Release[i]; {
		case c >= '0' && c <= '9':
			*at = *at*10 + int(c-'0')
		case at == &major:
			at = &minor
		default:
			at = nil
		}
	}
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) || major < 6 || major == 6 && minor < 7
}
