//go:build !linux || !amd64

package hugepages

import "errors"

// moveProgram does nothing where code that was just written needs more than that before
// it can run, or where there is no mremap(2).
func moveProgram() error { return errors.ErrUnsupported }
