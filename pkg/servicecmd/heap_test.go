package servicecmd_test

import (
	"runtime/debug"
	"testing"

	"github.com/poterne/poterne/pkg/servicecmd"
)

func TestRoomyHeap(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	t.Setenv("GOGC", "")
	before := percent()
	restore := servicecmd.RoomyHeap()
	if got := percent(); got <= before {
		t.Errorf("the heap grows by %d %%, and by %d before", got, before)
	}
	restore()
	if got := percent(); got != before {
		t.Errorf("restored to %d %%, want %d", got, before)
	}
	t.Setenv("GOGC", "50")
	servicecmd.RoomyHeap()
	if got := percent(); got != before {
		t.Errorf("GOGC is there, and the heap grows by %d %%", got)
	}
}
