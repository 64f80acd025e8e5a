//go:build unix && !linux

package process

// asBatch does nothing: this system has no such policy.
func asBatch() (undo func() error, err error) { return func() error { return nil }, nil }
