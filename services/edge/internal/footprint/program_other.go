//go:build !linux

package footprint

// dropProgram does nothing where the system cannot be told.
func dropProgram() {}

// resident is not known here.
func resident() int { return 0 }

// anonymous is not known here.
func anonymous() int { return 0 }
