//go:build unix

package process

import "syscall"

// lower has the group that pid leads give way to others, as nice(1) does; by is
// from 1 to 19. What it starts later inherits that.
func lower(pid, by int) error { return syscall.Setpriority(syscall.PRIO_PGRP, pid, by) }
