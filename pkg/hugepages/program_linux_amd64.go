package hugepages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/poterne/poterne/pkg/procmaps"
)

// moveProgram has the program itself, its code and its tables, lie in huge pages: in
// copies of the process's own that take the places of what is mapped of the file, as
// Node.js does it (--use-largepages). Parts that Linux maps in huge pages by itself
// stay as they are.
//
// Replacing is one call of the system, mremap(2). A thread that comes to the part
// meanwhile waits for the call's end, as for any page that is not there yet.
func moveProgram() error {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	parts := programParts(maps, self)
	_ = maps.Close()
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		return err
	}
	defer memory.Close()
	for _, p := range parts {
		err = errors.Join(err, p.move(memory))
	}
	return err
}

// part is a part of the program that cannot be written to.
type part struct {
	span
	access int // unix.PROT_ of it
}

// move puts copies of the whole huge pages of p, read from the process's own memory, in
// their places, one after the other: what is copied is never in memory twice for long.
func (p part) move(memory io.ReaderAt) error {
	s, _ := p.whole()
	for ; s.from < s.to; s.from += huge {
		if err := p.movePage(s.from, memory); err != nil {
			return err
		}
	}
	return nil
}

// movePage moves the one at address to.
func (p part) movePage(to uintptr, memory io.ReaderAt) error {
	room, err := unix.MmapPtr(-1, 0, nil, 2*huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("room for a copy: %w", err)
	}
	from := uintptr(room)
	at := (from + huge - 1) &^ (huge - 1)
	code := unsafe.Slice((*byte)(unsafe.Add(room, at-from)), huge)
	err = fill(code, span{at, at + huge}, memory, int64(to), p.access)
	if err == nil {
		if _, _, errno := unix.Syscall6(unix.SYS_MREMAP, at, huge, huge, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, to, 0); errno != 0 {
			err = fmt.Errorf("the copy's move: %w", errno)
		}
	}
	if err != nil {
		return errors.Join(err, unix.MunmapPtr(room, 2*huge))
	}
	// What was for the alignment.
	if at > from {
		err = unix.MunmapPtr(room, at-from)
	}
	return errors.Join(err, unix.MunmapPtr(unsafe.Add(room, at-from+huge), from+huge-at))
}

// fill reads into code, which lies at s, in a huge page, and makes it what it is to be. It
// is an error when there is no huge page for it: a copy in small ones is of no use.
func fill(code []byte, s span, memory io.ReaderAt, offset int64, access int) error {
	code[0] = 0 // a page that holds nothing cannot be moved
	if err := madvise(s, unix.MADV_COLLAPSE); err != nil {
		return fmt.Errorf("a huge page: %w", err)
	}
	if _, err := memory.ReadAt(code, offset); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	if err := unix.Mprotect(code, access); err != nil {
		return fmt.Errorf("the copy's use: %w", err)
	}
	return nil
}

// programParts reads proc(5), smaps, and returns what it maps of the file that cannot
// be written to, without what is in huge pages already.
func programParts(smaps io.Reader, file string) (parts []part) {
	accesses := map[string]int{"r-xp": unix.PROT_READ | unix.PROT_EXEC, "r--p": unix.PROT_READ}
	lines := bufio.NewScanner(smaps)
	ours := false
	for lines.Scan() {
		line := lines.Text()
		if m, ok := procmaps.Parse(line); ok {
			access, readOnly := accesses[m.Access]
			if ours = readOnly && m.Name == file; ours {
				parts = append(parts, part{span{m.From, m.To}, access})
			}
			continue
		}
		if huge, ok := strings.CutPrefix(line, "FilePmdMapped:"); ok && ours && strings.TrimSpace(huge) != "0 kB" {
			parts, ours = parts[:len(parts)-1], false
		}
	}
	return parts
}
