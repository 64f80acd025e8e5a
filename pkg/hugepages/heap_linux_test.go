package hugepages

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/poterne/poterne/pkg/procmaps"
)

// room maps n huge pages for a test, with something between them and all else.
func room(t *testing.T, n int) (memory []byte, s span) {
	t.Helper()
	all, err := unix.Mmap(-1, 0, (n+2)*huge, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(all) })
	from := uintptr(unsafe.Pointer(&all[0]))
	s.from = (from + huge) &^ (huge - 1)
	s.to = s.from + uintptr(n*huge)
	memory = all[s.from-from:][:n*huge]
	if err := unix.Mprotect(memory, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return memory, s
}

// available is whether this system moves memory to huge pages; some builds of Linux do
// not, and gVisor does not.
func available(t *testing.T) bool {
	t.Helper()
	memory, s := room(t, 1)
	touch(memory, 1)
	return madvise(s, unix.MADV_COLLAPSE) == nil
}

func touch(memory []byte, with byte) {
	for at := 0; at < len(memory); at += os.Getpagesize() {
		memory[at] = with
	}
}

// inHugePages is how much of s is, in bytes.
func inHugePages(t *testing.T, s span) (n int) {
	t.Helper()
	return tells(t, s, "AnonHugePages:")
}

// tells adds up one thing that smaps tells of all that lies in s.
func tells(t *testing.T, s span, what string) (n int) {
	t.Helper()
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer smaps.Close()
	within := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		if m, ok := procmaps.Parse(lines.Text()); ok {
			within = m.From < s.to && s.from < m.To
			continue
		}
		if text, ok := strings.CutPrefix(lines.Text(), what); ok && within {
			kb := 0
			if _, err := fmt.Sscan(text, &kb); err != nil {
				t.Fatal(err)
			}
			n += kb << 10
		}
	}
	return n
}

// What is filled is moved once, what is not stays as it is, and so does what was given
// back of what was moved.
func TestWhatIsFilledIsMoved(t *testing.T) {
	memory, s := room(t, 4)
	touch(memory[:2*huge], 1)
	touch(memory[2*huge:][:huge/2], 1)
	h := Heap{parts: []span{s}, moved: map[uintptr]bool{}}
	runs := h.filled(s)
	if len(runs) != 1 || runs[0] != (span{s.from, s.from + 2*huge}) {
		t.Fatalf("filled is %x of %x", runs, s)
	}
	if !available(t) {
		if h.look(move); h.failed == 0 || len(h.moved) != 0 {
			t.Error("moved where that cannot be")
		}
		return
	}
	for range maxFailed {
		h.look(move)
	}
	if got := inHugePages(t, s); got != 2*huge {
		t.Errorf("%d bytes are in huge pages, want %d", got, 2*huge)
	}
	if runs := h.filled(s); len(runs) != 0 {
		t.Errorf("%x would be moved again", runs)
	}
	if memory[0] != 1 || memory[2*huge-os.Getpagesize()] != 1 {
		t.Error("something was lost")
	}

	if err := unix.Madvise(memory[:huge/2], unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if runs := h.filled(s); len(runs) != 0 {
		t.Errorf("%x would be taken again", runs)
	}
	touch(memory[:huge], 2)
	if runs := h.filled(s); len(runs) != 1 || runs[0] != (span{s.from, s.from + huge}) {
		t.Errorf("what was filled again is %x", runs)
	}
}

// A heap that grows is in huge pages after some looks, and gets none of its free memory
// back by them.
func TestLook(t *testing.T) {
	if !available(t) {
		return // what happens then is looked at above
	}
	before := debug.SetGCPercent(-1)
	defer debug.SetGCPercent(before)
	var h Heap
	ballast := make([]byte, 32<<20)
	touch(ballast, 1)
	from := uintptr(unsafe.Pointer(&ballast[0]))
	at, _ := span{from, from + uintptr(len(ballast))}.whole()
	for range 1 << maxFailed {
		if h.Look(); inHugePages(t, at) >= int(at.to-at.from) {
			break
		}
	}
	if got := inHugePages(t, at); got < int(at.to-at.from) {
		t.Fatalf("%d of %d bytes are in huge pages", got, at.to-at.from)
	}
	runtime.KeepAlive(ballast) // and no longer
	debug.FreeOSMemory()
	free := tells(t, at, "Rss:")
	for range 4 {
		h.Look()
	}
	if after := tells(t, at, "Rss:"); after > free+4*huge {
		t.Errorf("%d bytes are in memory again, and were %d", after, free)
	}
}

// Go's own setting leaves everything as it is.
func TestUnwanted(t *testing.T) {
	t.Setenv("GODEBUG", "http2client=1,"+off)
	var h Heap
	if h.Look(); h.size != 0 {
		t.Error("looked all the same")
	}
}

// Where there are no huge pages, Linux is asked more and more seldom.
func TestFailuresAreSeldom(t *testing.T) {
	memory, s := room(t, 1)
	touch(memory, 1)
	asked := 0
	h := Heap{parts: []span{s}}
	for range 2048 {
		if h.due() {
			asked++
			h.look(func(span) bool { return false })
		}
	}
	if asked < maxFailed || asked > 20 {
		t.Errorf("asked %d times in 2,048 looks", asked)
	}
	if h.look(func(span) bool { return true }); h.failed != 0 || !h.due() {
		t.Error("a success is not the end of it")
	}
	if h.look(func(span) bool { t.Error("asked for what was moved"); return true }); h.failed != 0 {
		t.Error("nothing to do is a failure")
	}
}
