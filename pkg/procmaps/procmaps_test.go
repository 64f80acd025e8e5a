package procmaps_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/procmaps"
)

func TestParse(t *testing.T) {
	const program = "/usr/bin/poterne edge"
	for line, want := range map[string]procmaps.Mapping{
		"00400000-018e6000 r-xp 00000000 fe:00 11010817                           " + program:                {From: 0x400000, To: 0x18e6000, Access: "r-xp", Name: program},
		"018e6000-030db000 r--p 014e6000 fe:00 11010817                           " + program + " (deleted)": {From: 0x18e6000, To: 0x30db000, Access: "r--p", Name: program + " (deleted)"},
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":                                                       {From: 0xc000000000, To: 0xc000400000, Access: "rw-p", Private: true},
		"c000000000-c000400000 rw-p 00000000 00:00 0":                                                        {From: 0xc000000000, To: 0xc000400000, Access: "rw-p", Private: true},
		"7ffc3a1e0000-7ffc3a201000 rw-p 00000000 00:00 0                          [stack]":                   {From: 0x7ffc3a1e0000, To: 0x7ffc3a201000, Access: "rw-p", Private: true, Name: "[stack]"},
	} {
		if got, ok := procmaps.Parse(line); !ok || got != want {
			t.Errorf("%q is %+v, %t", line, got, ok)
		}
	}
	for _, line := range []string{
		"", "x", "Size:              26896 kB", "VmFlags: rd ex mr mw me ",
		"018e6000-00400000 r--p 014e6000 fe:00 1 " + program, "zz-yy r--p 014e6000 fe:00 1 " + program,
		"00400000 r--p 014e6000 fe:00 1 " + program, "00400000-00500000 r--p 014e6000 fe:00",
	} {
		if got, ok := procmaps.Parse(line); ok {
			t.Errorf("%q is %+v", line, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("c000000000-c000400000 rw-p 00000000 00:00 0 ")
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := procmaps.Parse(line); ok && (m.From >= m.To || m.Access == "") {
			t.Errorf("%q is %+v", line, m)
		}
	})
}
