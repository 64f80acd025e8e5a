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

// move takes a copy of the whole huge pages of p, read from the process's own memory,
// and puts it in their place.
func (p part) move(memory io.ReaderAt) error {
	s, ok := p.whole()
	if !ok {
		return nil
	}
	size := s.to - s.from
	room, err := unix.MmapPtr(-1, 0, nil, size+huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("room for a copy: %w", err)
	}
	from := uintptr(room)
	at := (from + huge - 1) &^ (huge - 1)
	code := unsafe.Slice((*byte)(unsafe.Add(room, at-from)), size)
	err = fill(code, span{at, at + size}, memory, int64(s.from), p.access)
	if err == nil {
		if _, _, errno := unix.Syscall6(unix.SYS_MREMAP, at, size, size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, s.from, 0); errno != 0 {
			err = fmt.Errorf("the copy's move: %w", errno)
		}
	}
	if err != nil {
		return errors.Join(err, unix.MunmapPtr(room, size+huge))
	}
	// What was for the alignment.
	if at > from {
		err = unix.MunmapPtr(room, at-from)
	}
	return errors.Join(err, unix.MunmapPtr(unsafe.Add(room, at-from+size), from+huge-at))
}

// fill reads into code, which lies at s, in huge pages, and makes it what it is to be. It
// is an error when there are no huge pages for it: a copy in small ones is of no use.
func fill(code []byte, s span, memory io.ReaderAt, offset int64, access int) error {
	if err := madvise(s, unix.MADV_HUGEPAGE); err != nil {
		return fmt.Errorf("huge pages: %w", err)
	}
	if _, err := memory.ReadAt(code, offset); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	if err := madvise(s, unix.MADV_COLLAPSE); err != nil {
		return fmt.Errorf("huge pages for the whole: %w", err)
	}
	if err := unix.Mprotect(code, access); err != nil {
		return fmt.Errorf("the copy's use: %w", err)
	}
	return nil
}

// programParts reads proc(5), smaps, and returns what it maps of the file that cannot
// be written to, without what is in huge pages already.
func programParts(smaps io.Reader, file string) (parts []part) {
	lines := bufio.NewScanner(smaps)
	ours := false
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 5 && !strings.HasSuffix(f[0], ":"):
			var p part
			if p, ours = programPart(f, file); ours {
				parts = append(parts, p)
			}
		case ours && f[0] == "FilePmdMapped:" && f[1] != "0":
			parts, ours = parts[:len(parts)-1], false
		}
	}
	return parts
}

// programPart reads a line of maps, split into its fields.
func programPart(f []string, file string) (part, bool) {
	if len(f) != 6 || f[5] != file {
		return part{}, false
	}
	access, ok := map[string]int{"r-xp": unix.PROT_READ | unix.PROT_EXEC, "r--p": unix.PROT_READ}[f[1]]
	s, err := addresses(f[0])
	if !ok || err != nil {
		return part{}, false
	}
	return part{s, access}, true
}
