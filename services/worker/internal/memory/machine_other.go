//go:build !linux && !darwin

package memory

import "errors"

// Machine cannot tell on this system.
func Machine() (int64, error) {
	return 0, errors.New("memory of this machine: not known on this system: set memory.limit")
}

// Available cannot tell on this system.
func Available() (int64, error) {
	return 0, errors.New("available memory: not known on this system")
}
