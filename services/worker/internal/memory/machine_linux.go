package memory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/cgroup"
)

// Machine returns the main memory that this process may use, in bytes: what the
// machine has, or less when its control group is limited.
func Machine() (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("memory of this machine: %w", err)
	}
	total, err := memTotal(data)
	if err != nil {
		return 0, err
	}
	if limit, ok := groupLimit(); ok {
		total = min(total, limit)
	}
	return total, nil
}

// Available returns what of the main memory this process may still take without
// the machine beginning to swap: MemAvailable, or less when the control group is
// limited.
func Available() (int64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("memory of this machine: %w", err)
	}
	free, err := memField(data, "MemAvailable:")
	if err != nil {
		return 0, err
	}
	if left, ok := groupLeft(); ok {
		free = min(free, left)
	}
	return free, nil
}

func memTotal(meminfo []byte) (int64, error) { return memField(meminfo, "MemTotal:") }

func memField(meminfo []byte, name string) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(meminfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == name {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of this machine: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("memory of this machine: /proc/meminfo has no " + strings.TrimSuffix(name, ":"))
}

func groupLimit() (int64, bool) { return cgroup.MemoryLimit("/") }

// groupLeft is what the control group may still take: its limit less what it has
// taken, files in the page cache not counted, which the kernel gives up first.
func groupLeft() (int64, bool) {
	limit, ok := groupLimit()
	if !ok {
		return 0, false
	}
	for _, dir := range groupDirs() {
		data, err := os.ReadFile(dir + "/memory.current")
		if err != nil {
			continue
		}
		taken, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		if err != nil {
			return 0, false
		}
		stat, err := os.ReadFile(dir + "/memory.stat")
		if err != nil {
			return 0, false
		}
		return max(limit-taken+cachedFiles(stat), 0), true
	}
	return 0, false
}

// cachedFiles is the page cache in a memory.stat.
func cachedFiles(stat []byte) int64 {
	var sum int64
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "active_file" || name == "inactive_file" {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil && n > 0 {
				sum += n
			}
		}
	}
	return sum
}

// groupDirs are where the control group of this process is described: its own
// directory, or the root of what a container sees.
func groupDirs() []string {
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	path := ""
	for line := range strings.Lines(string(group)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	return []string{"/sys/fs/cgroup" + path, "/sys/fs/cgroup"}
}
