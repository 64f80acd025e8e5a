package footprint

import (
	"encoding/json"
	"regexp"
	"runtime"
	"testing"
	"time"
)

func TestReadOnly(t *testing.T) {
	const file = "/usr/bin/poterne-edge"
	for line, want := range map[string]bool{
		"00400000-018e6000 r-xp 00000000 fe:00 11010817                           " + file: true,
		"018e6000-030db000 r--p 014e6000 fe:00 11010817                           " + file: true,
		"030db000-031d4000 rw-p 02cdb000 fe:00 11010817                           " + file: false, // data that was written
		"7f2a8bf3c000-7f2a8c092000 r-xp 00026000 fe:00 326269 /usr/lib/libc.so.6":          false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":                                      false,
		"018e6000-00400000 r--p 014e6000 fe:00 1 " + file:                                  false,
		"zz-yy r--p 014e6000 fe:00 1 " + file:                                              false,
		"":                                                                                 false,
	} {
		from, to, ok := readOnly(line, file)
		if ok != want || ok && from >= to {
			t.Errorf("%q: %x-%x, %v; want %v", line, from, to, ok, want)
		}
	}
}

// TestTrim runs it: a program that lost a page for good would not come back
// from here.
func TestTrim(t *testing.T) {
	before := testing.AllocsPerRun(10, func() { _ = make([]byte, 1<<16) })
	trim()
	if after := testing.AllocsPerRun(10, func() { _ = make([]byte, 1<<16) }); before != after {
		t.Errorf("%v allocations before, %v after", before, after)
	}
}

func TestResident(t *testing.T) {
	if n := resident(); n < 1<<20 || n > 1<<40 {
		t.Errorf("%d bytes are resident", n)
	}
}

// A look at a quiet process brings its memory down, one at a busy process leaves it
// alone.
func TestLook(t *testing.T) {
	trim()
	k := keeper{allocated: allocated(), heap: anonymous()}
	ballast := make([]byte, 64<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	full := anonymous()
	ballast = nil
	if k.look(); anonymous() < full-1<<20 {
		t.Error("a busy process was trimmed")
	}
	runtime.KeepAlive(ballast)
	if k.look(); full-anonymous() < 60<<20 {
		t.Errorf("%d of %d bytes are left", anonymous(), full)
	}
}

// Pages of the program that were touched go with every look, and not only with those
// after a collection.
func TestLookDropsTheProgram(t *testing.T) {
	ballast := make([]byte, 2*enough)
	for i := range ballast {
		ballast[i] = 1
	}
	trim()
	k := keeper{allocated: allocated(), heap: anonymous()}
	for range 2 {
		_ = regexp.MustCompile(`(a|b)+\s`).FindString(time.Now().Format(time.RFC1123))
		_, _ = json.Marshal(map[string]any{"a": 1.5})
		touched := resident() - anonymous()
		if k.look(); resident()-anonymous() >= touched {
			t.Errorf("%d bytes of the program are left of %d", resident()-anonymous(), touched)
		}
	}
	runtime.KeepAlive(ballast)
}
