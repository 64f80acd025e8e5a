//go:build !linux

package footprint

// dropProgram does nothing where the system cannot be told.
func dropProgram() {}
