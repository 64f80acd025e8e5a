// Package procmaps reads what Linux tells of a process's memory, line by line: the
// files maps and smaps of proc(5). It knows nothing else; start reading at Parse.
package procmaps

import (
	"strconv"
	"strings"
)

// Mapping is one part of a process's memory.
type Mapping struct {
	// From is its first address, To the one after its last.
	From, To uintptr
	// Access is what may be done with it, as in "r-xp".
	Access string
	// Private says that it is nobody's file.
	Private bool
	// Name is the path of the file, which ends in " (deleted)" when that is gone, or what
	// the kernel calls it, as "[stack]"; often empty.
	Name string
}

// Parse reads a line of maps, or the first of those that smaps has of a part. It reports
// false of any other line.
func Parse(line string) (m Mapping, ok bool) {
	var f [5]string // addresses, access, offset, device, inode
	for n := range f {
		if f[n], line, ok = strings.Cut(strings.TrimLeft(line, " "), " "); f[n] == "" || !ok && n < len(f)-1 {
			return Mapping{}, false
		}
	}
	low, high, _ := strings.Cut(f[0], "-")
	from, err1 := strconv.ParseUint(low, 16, 64)
	to, err2 := strconv.ParseUint(high, 16, 64)
	if err1 != nil || err2 != nil || to <= from {
		return Mapping{}, false
	}
	return Mapping{
		From: uintptr(from), To: uintptr(to), Access: f[1], Private: f[4] == "0", Name: strings.TrimSpace(line),
	}, true
}
