package process

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// identity tells a process from every other that had or will have its id: the
// boot, and the clock ticks from it to the process's start (proc(5), field 22).
func identity(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const startTime = 19 // of those after the name
	if len(fields) <= startTime {
		return "", fmt.Errorf("process %d: unexpected form of its state", pid)
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[startTime], nil
}
