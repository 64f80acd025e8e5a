package process

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usages returns what each of the process groups takes; a group that is gone is
// left out. A child is the leader of its group, which has its id.
func Usages(groups []int) map[int]Usage {
	wanted := make(map[string]int, len(groups))
	for _, g := range groups {
		wanted[strconv.Itoa(g)] = g
	}
	out := make(map[int]Usage, len(groups))
	if len(groups) == 0 {
		return out
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return out
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		const groupField = 2
		fields := statFields(stat)
		if err != nil || len(fields) <= groupField {
			continue
		}
		group, ok := wanted[fields[groupField]]
		if !ok {
			continue
		}
		dir := filepath.Dir(file)
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		pid, perr := strconv.Atoi(filepath.Base(dir))
		if err != nil || perr != nil {
			continue
		}
		u := out[group]
		u.Anonymous += statusBytes(status, "RssAnon:")
		u.Files += statusBytes(status, "RssFile:") + statusBytes(status, "RssShmem:")
		u.PIDs = append(u.PIDs, pid)
		out[group] = u
	}
	return out
}

// statusBytes reads a figure in kilobytes of a process's status.
func statusBytes(status []byte, name string) int64 {
	for line := range strings.Lines(string(status)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n << 10
	}
	return 0
}
