//go:build !linux

package footprint

// dropProgram does nothing where the system cannot be told.
func dropProgram() {}

// resident is not known here.
func resident() int { return 0 }

// anonymous is not known here.
func anonymous() int { return 0 }

// singly does nothing where pages are mapped as the system likes.
func singly() (release func(), err error) { return func() {}, nil }
