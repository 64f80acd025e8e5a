//go:build unix

package process

import "syscall"

// signalGroup sends sig to the process group that pid leads. A group that is
// gone is no error.
func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) }
