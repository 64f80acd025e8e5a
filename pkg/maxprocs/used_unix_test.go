//go:build unix

package maxprocs

import "testing"

func TestUsed(t *testing.T) {
	before, ok := used()
	if !ok {
		t.Fatal("not told")
	}
	for n := 0; ; n++ {
		if after, _ := used(); after > before {
			return
		}
		if n > 10_000_000 {
			t.Fatal("no time was used")
		}
	}
}
