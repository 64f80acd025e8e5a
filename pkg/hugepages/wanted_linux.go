package hugepages

import (
	"os"
	"strconv"
	"strings"
)

// scarce is a limit on memory under which the program stays the file's, whose pages the
// system takes back when memory is short: a copy is as large as the program, up to 60 MB.
const scarce = 512 << 20

// unwanted reports whether somebody has turned huge pages off: for Go's heaps in the
// environment (GODEBUG, see package runtime), or for the whole machine, which
// MADV_COLLAPSE would not heed.
func unwanted() bool {
	for setting := range strings.SplitSeq(os.Getenv("GODEBUG"), ",") {
		if setting == off {
			return true
		}
	}
	enabled, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && never(string(enabled))
}

func never(enabled string) bool { return strings.Contains(enabled, "[never]") }

// short reports whether memory is limited to less than what is worth a copy of the
// program.
func short() bool {
	limit, ok := groupLimit("/")
	return ok && limit < scarce
}

// groupLimit returns the least limit on memory of this process's control group and of
// those around it, as far as they can be seen (cgroups(7), both versions); root is where
// the file systems are.
func groupLimit(root string) (least int64, ok bool) {
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
