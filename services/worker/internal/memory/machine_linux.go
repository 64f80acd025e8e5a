package memory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Machine returns the main memory that this process may use, in bytes: what the
// machine has, or less when its control group (version 2) is limited.
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

func memTotal(meminfo []byte) (int64, error) {
	lines := bufio.NewScanner(bytes.NewReader(meminfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory of this machine: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("memory of this machine: /proc/meminfo has no MemTotal")
}

func groupLimit() (int64, bool) {
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	path := ""
	for line := range strings.Lines(string(group)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	for _, file := range []string{"/sys/fs/cgroup" + path + "/memory.max", "/sys/fs/cgroup/memory.max"} {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		return n, err == nil && n > 0 // "max" is no number
	}
	return 0, false
}
