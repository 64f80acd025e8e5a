package testkit

import "runtime"

// Heap returns how many bytes of this process's heap are kept: what is left after two
// collections, the second of which empties pools.
func Heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
