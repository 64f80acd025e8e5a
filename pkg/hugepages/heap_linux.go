package hugepages

import (
	"bytes"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// huge is the size of a huge page where Go and Linux share one: amd64, arm64 and
// riscv64 with pages of 4 KB.
const huge = 2 << 20

// Heap is Go's heap as it was at the last look. The zero value has not looked. It is for
// one goroutine at a time.
type Heap struct {
	wanted int8   // -1: no; 0: not known yet
	size   uint64 // of its addresses
	parts  []span // that can be written to, in whole huge pages
	moved  map[uintptr]bool

	failed int // looks in a row in which Linux moved not all that it was asked to
	idle   int // looks to let pass before it is asked again
}

// Look moves to huge pages what is filled up. What Go has given back is not taken again
// by this, as it is where Linux does so in the background.
func (h *Heap) Look() {
	if h.wanted == 0 {
		if h.wanted = 1; unwanted() {
			h.wanted = -1
		}
	}
	if h.wanted < 0 || !h.due() {
		return
	}
	if size := heapSize(); size != h.size {
		h.size, h.parts = size, heapParts()
	}
	h.look(move)
}

// due is whether enough looks have passed since the last failure.
func (h *Heap) due() bool {
	if h.idle > 0 {
		h.idle--
		return false
	}
	return true
}

// look has what is filled moved by move, which tells whether all of it was.
func (h *Heap) look(move func(span) bool) {
	if h.moved == nil {
		h.moved = make(map[uintptr]bool)
	}
	whole := true
	for _, p := range h.parts {
		for _, run := range h.filled(p) {
			if !move(run) {
				whole = false
				continue
			}
			for at := run.from; at < run.to; at += huge {
				h.moved[at] = true
			}
		}
	}
	if whole {
		h.failed, h.idle = 0, 0
		return
	}
	// A page that is in use at that moment is moved a little later. Where there are no
	// huge pages to be had, each try has Linux look for them everywhere.
	h.failed = min(h.failed+1, maxFailed)
	h.idle = 1<<(h.failed-1) - 1
}

// maxFailed bounds the looks that pass between two tries: 255, about a minute.
const maxFailed = 9

// filled returns what of p is filled up and was not moved yet, in runs.
func (h *Heap) filled(p span) (runs []span) {
	resident := make([]byte, huge/os.Getpagesize())
	for at := p.from; at < p.to; at += huge {
		if !lies(at, resident) {
			continue
		}
		n := bytes.Count(resident, []byte{1})
		if n < len(resident) {
			delete(h.moved, at) // something of it was given back, or it never was
		}
		if h.moved[at] || n < len(resident)*filledOf8/8 {
			continue
		}
		if last := len(runs) - 1; last >= 0 && runs[last].to == at {
			runs[last].to += huge
		} else {
			runs = append(runs, span{at, at + huge})
		}
	}
	return runs
}

// filledOf8 is how many eighths of a huge page's memory are in use where it is worth the
// rest.
const filledOf8 = 7

// lies tells which pages of the huge page at address at are in memory, a byte each.
func lies(at uintptr, resident []byte) bool {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, at, huge, uintptr(unsafe.Pointer(&resident[0])))
	for i := range resident {
		resident[i] &= 1 // the other bits mean nothing
	}
	return errno == 0
}

// move has s lie in huge pages.
func move(s span) bool { return madvise(s, unix.MADV_COLLAPSE) == nil }

func madvise(s span, advice uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, advice); errno != 0 {
		return errno
	}
	return nil
}

// heapParts returns the parts of the heap that can be written to, in whole huge pages;
// none where the system does not tell.
func heapParts() []span {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer maps.Close()
	object := new([512]byte)
	defer runtime.KeepAlive(object)
	return partsAround(maps, uintptr(unsafe.Pointer(object)))
}
