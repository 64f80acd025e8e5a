//go:build unix && !linux

package process

// asBatch does nothing: this system has no such policy.
func asBatch() error { return nil }
