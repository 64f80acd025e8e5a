package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	fields := statFields(stat)
	const startTime = 19
	if len(fields) <= startTime {
		return "", fmt.Errorf("process %d: unexpected form of its state", pid)
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[startTime], nil
}

// statFields returns the fields after the name, which stands in parentheses and
// may hold anything.
func statFields(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

// marked returns the processes of a group that have mark in their environment.
func marked(group int, mark string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || mark == "" {
		return nil
	}
	var out []int
	for _, file := range files {
		stat, err := os.ReadFile(file)
		const groupField = 2
		if fields := statFields(stat); err != nil || len(fields) <= groupField || fields[groupField] != strconv.Itoa(group) {
			continue
		}
		env, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), mark) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			out = append(out, pid)
		}
	}
	return out
}
