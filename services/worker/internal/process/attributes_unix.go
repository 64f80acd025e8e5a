//go:build unix && !linux

package process

import "syscall"

// attributes give the child a group of its own. Here the ledger alone sees to
// leftovers.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
