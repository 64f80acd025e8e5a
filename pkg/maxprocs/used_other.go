//go:build !unix

package maxprocs

import "time"

// used is not known.
func used() (time.Duration, bool) { return 0, false }
