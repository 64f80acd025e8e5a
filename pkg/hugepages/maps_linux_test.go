package hugepages

import (
	"slices"
	"strings"
	"testing"
)

// A heap as Go 1.26 has it, at a random place, reserved in two pieces, of which one has
// grown in two steps; beside it, what is not the heap.
const maps = `00400000-01e44000 r-xp 00000000 fe:00 10018833                           /usr/bin/poterne
01e44000-03c3b000 r--p 01a44000 fe:00 10018833                           /usr/bin/poterne
03c3b000-03dff000 rw-p 0383b000 fe:00 10018833                           /usr/bin/poterne
03dff000-05e60000 rw-p 00000000 00:00 0 
201bf7000000-201bfb400000 rw-p 00000000 00:00 0 
201bfb400000-201bfd500000 rw-p 00000000 00:00 0 
201bfd500000-201bff000000 ---p 00000000 00:00 0 
201bff000000-201bff300000 rw-p 00000000 00:00 0 
201c00000000-201c00400000 rw-p 00000000 00:00 0 
7fa38aa30000-7fa38aa70000 rw-s 00000000 fe:00 10018833                   /data/audit-journal/1.journal
7fa38aa70000-7fa38ad70000 rw-p 00000000 00:00 0 
7ffc3a1e0000-7ffc3a201000 rw-p 00000000 00:00 0                          [stack]
`

func TestPartsAround(t *testing.T) {
	whole := []span{{0x201bf7000000, 0x201bfb400000}, {0x201bfb400000, 0x201bfd400000}, {0x201bff000000, 0x201bff200000}}
	for name, c := range map[string]struct {
		object uintptr
		want   []span
	}{
		"in the first part":     {0x201bf7000200, whole},
		"in the last part":      {0x201bff2fffff, whole},
		"beside it":             {0x201c00000000, []span{{0x201c00000000, 0x201c00400000}}},
		"in what is not mapped": {0x201bff300000, nil},
		"in a file":             {0x00400000, nil},
		"on the stack":          {0x7ffc3a1e0000, nil},
		"after a file":          {0x7fa38aa70000, nil},
	} {
		if got := partsAround(strings.NewReader(maps), c.object); !slices.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
	for _, bad := range []string{"", "x", "zz-01e44000 rw-p 00000000 00:00 0", "01e44000-00400000 rw-p 00000000 00:00 0", "01e44000 rw-p 00000000 00:00 0"} {
		if got := partsAround(strings.NewReader(bad), 0x01000000); len(got) != 0 {
			t.Errorf("%q: %x", bad, got)
		}
	}
}

func FuzzPartsAround(f *testing.F) {
	f.Add(maps, uint64(0x201bf7000200))
	f.Fuzz(func(t *testing.T, text string, object uint64) {
		for _, p := range partsAround(strings.NewReader(text), uintptr(object)) {
			if p.from >= p.to || p.from%huge != 0 || p.to%huge != 0 {
				t.Errorf("%x is no whole huge pages", p)
			}
		}
	})
}
