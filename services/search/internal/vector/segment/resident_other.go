//go:build !unix

package segment

// unneeded does nothing where pages are the system's alone.
func unneeded([]byte) {}
