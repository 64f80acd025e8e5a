package servicecmd

import (
	"os"
	"runtime/debug"
)

// heapPercent lets the heap grow further between two collections than Go does by itself.
const heapPercent = 300

// RoomyHeap has fewer collections, until restore: it is for services that keep little and
// leave much with each request, whose heap stays small even so. GOGC in the environment
// says otherwise.
func RoomyHeap() (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(heapPercent)
	return func() { debug.SetGCPercent(before) }
}
