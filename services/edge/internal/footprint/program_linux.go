package footprint

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/poterne/poterne/pkg/procmaps"
)

// dropProgram takes the pages of the program's file out of this process's
// resident set. They are read-only and backed by the file, so nothing is lost;
// a failure costs nothing but the memory.
func dropProgram() {
	eachPart(func(from, to uintptr) {
		// In huge pages, two megabytes would come back for one line of a table.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_NOHUGEPAGE)
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	})
}

// eachPart calls do with the addresses of each part of the program that is read-only.
func eachPart(do func(from, to uintptr)) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		if from, to, ok := readOnly(lines.Text(), self); ok {
			do(from, to)
		}
	}
}

// readOnly reads a line of /proc/self/maps and returns its addresses when it maps the named
// file read-only.
func readOnly(line, file string) (from, to uintptr, ok bool) {
	m, ok := procmaps.Parse(line)
	if !ok || m.Name != file || m.Access != "r-xp" && m.Access != "r--p" {
		return 0, 0, false
	}
	return m.From, m.To, true
}

// resident returns the size of the resident set in bytes; 0 when it is not known.
func resident() int {
	all, _ := sizes()
	return all
}

// anonymous returns how much of the resident set is the process's own, and not a
// file's; 0 when it is not known.
func anonymous() int {
	all, shared := sizes()
	return all - shared
}

// sizes reads proc(5), statm.
func sizes() (all, shared int) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0
	}
	f := strings.Fields(string(data))
	if len(f) < 3 {
		return 0, 0
	}
	a, err1 := strconv.Atoi(f[1])
	b, err2 := strconv.Atoi(f[2])
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	return a * os.Getpagesize(), b * os.Getpagesize()
}
