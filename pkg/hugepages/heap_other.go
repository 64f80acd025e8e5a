//go:build !linux

package hugepages

// Heap is nothing where heaps do not lie in Linux's pages.
type Heap struct{}

// Look does nothing.
func (*Heap) Look() {}

func unwanted() bool { return true }

func short() bool { return false }
