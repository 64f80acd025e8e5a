//go:build !unix

package servicecmd

// CalmMonitor does nothing where a program cannot begin again as the same process.
func CalmMonitor() {}
