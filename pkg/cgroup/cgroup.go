// Package cgroup reads what Linux's control groups (cgroups(7)) allow this process. It
// knows nothing else; start reading at MemoryLimit.
package cgroup

import (
	"os"
	"strconv"
	"strings"
)

// MemoryLimit returns the least limit on memory, in bytes, of this process's control group and of
// those around it, as far as they can be seen (cgroups(7), both versions); root is where
// the file systems are.
func MemoryLimit(root string) (least int64, ok bool) {
	groups, err := os.ReadFile(root + "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	see := func(dir, path, file string) {
		for {
			if text, err := os.ReadFile(root + dir + path + file); err == nil {
				// "max" is no number, and the first version's largest one is no limit.
				if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (!ok || n < least) {
					least, ok = n, true
				}
			}
			if path == "" {
				return
			}
			path = path[:strings.LastIndexByte(path, '/')]
		}
	}
	for line := range strings.Lines(string(groups)) {
		number, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		if path = strings.TrimRight(path, "/"); path != "" && path[0] != '/' {
			continue
		}
		switch {
		case number == "0" && controllers == "":
			see("sys/fs/cgroup", path, "/memory.max")
		case controllers == "memory":
			see("sys/fs/cgroup/memory", path, "/memory.limit_in_bytes")
		}
	}
	return least, ok
}
