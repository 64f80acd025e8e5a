package sqldb

import "golang.org/x/sys/unix"

// giveWay lets other threads go first that wait for this processor (sched_yield(2)).
func giveWay() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
