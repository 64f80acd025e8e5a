package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc's times, which Linux has everywhere.
const tick = 10 * time.Millisecond

// cpuOf is the processor time that the processes have had, in user and in kernel.
func cpuOf(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		raw, err := os.ReadFile(procFile(pid, "stat"))
		if err != nil {
			return 0, err
		}
		d, err := parseStat(raw)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += d
	}
	return sum, nil
}

// parseStat reads utime and stime, the 14th and 15th field. The second one is the
// program's name in parentheses, and may hold anything.
func parseStat(raw []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	const user, system = 14 - 3, 15 - 3
	if end < 0 || len(fields) <= system {
		return 0, fmt.Errorf("stat cannot be read: %q", raw)
	}
	var sum int64
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// forgetPeaks begins the processes' peaks of resident memory anew.
func forgetPeaks(pids []int) error {
	for _, pid := range pids {
		if err := os.WriteFile(procFile(pid, "clear_refs"), []byte("5"), 0); err != nil {
			return err
		}
	}
	return nil
}

// The lines of a process's status that tell resident memory.
const (
	residentNow  = "VmRSS"
	residentPeak = "VmHWM"
)

// memoryOf is a line of the processes' statuses added up, in MB.
func memoryOf(pids []int, line string) (float64, error) {
	var sum int64
	for _, pid := range pids {
		raw, err := os.ReadFile(procFile(pid, "status"))
		if err != nil {
			return 0, err
		}
		kib, err := parseStatus(string(raw), line)
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", pid, err)
		}
		sum += kib
	}
	return float64(sum) * 1024 / 1e6, nil
}

func parseStatus(status, line string) (kib int64, err error) {
	for l := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			return strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return 0, fmt.Errorf("status has no %s", line)
}

// childrenOf is the processes that a process has started and that still run.
func childrenOf(pid int) ([]int, error) {
	lists, err := filepath.Glob(procFile(pid, "task/*/children"))
	if err != nil {
		return nil, err
	}
	var out []int
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			return nil, err
		}
		for f := range strings.FieldsSeq(string(raw)) {
			child, err := strconv.Atoi(f)
			if err != nil {
				return nil, err
			}
			out = append(out, child)
		}
	}
	return out, nil
}

func procFile(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }
