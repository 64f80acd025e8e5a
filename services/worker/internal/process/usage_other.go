//go:build !linux

package process

// Usages cannot tell on this system.
func Usages([]int) map[int]Usage { return nil }
