package sqldb

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Who gives way on a processor takes little of it from another thread that wants it.
func TestOthersGoFirst(t *testing.T) {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !allowed.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)

	// together has a thread that gives way, in the way of the argument, beside one that
	// works for 100 ms on the same processor; it returns what the first took of it.
	together := func(way func()) time.Duration {
		stop, begun, took := make(chan struct{}), make(chan struct{}), make(chan time.Duration)
		go func() {
			alone(t, &one)
			close(begun)
			from := threadTime(t)
			for {
				select {
				case <-stop:
					took <- threadTime(t) - from
					return
				default:
					way()
				}
			}
		}()
		done := make(chan struct{})
		go func() {
			defer close(done)
			alone(t, &one)
			<-begun
			for from := threadTime(t); threadTime(t)-from < 100*time.Millisecond; {
			}
		}()
		<-done
		close(stop)
		return <-took
	}
	stays, gives := together(func() {}), together(giveWay)
	if gives > stays/8 {
		t.Errorf("beside 100 ms of another's, %v of the processor were taken while giving way, and %v without", gives, stays)
	}
}

// alone makes the goroutine's thread its own, on the processors of set; the thread ends
// with the goroutine.
func alone(t *testing.T, set *unix.CPUSet) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, set); err != nil {
		t.Error(err)
	}
}

// threadTime is the processor time of this thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &at); err != nil {
		t.Error(err)
	}
	return time.Duration(at.Nano())
}
