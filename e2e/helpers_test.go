//go:build real

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
)

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func trim(raw []byte) string { return strings.TrimSpace(string(raw)) }

// binDir is where the built binaries are.
func binDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("POTERNE_BIN_DIR")
	if dir == "" {
		dir = filepath.Join("..", "bin")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

func logTail(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Log(err)
		return
	}
	const tail = 6000
	if len(raw) > tail {
		raw = raw[len(raw)-tail:]
	}
	t.Logf("the end of %s:\n%s", path, raw)
}

// childrenOf returns the ids of a process's children, by Linux's /proc.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, task := range tasks {
		raw, err := os.ReadFile(task)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(raw)) {
			if child, err := strconv.Atoi(field); err == nil {
				out = append(out, child)
			}
		}
	}
	return out
}

// waitGone fails when one of the processes is still there after a while.
func waitGone(t *testing.T, pids []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	err := process.Poll(ctx, func(context.Context) error {
		for _, pid := range pids {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// A zombie waits for whoever adopted it; it runs no more.
			if err == nil && !strings.Contains(string(raw), ") Z ") {
				return fmt.Errorf("process %d is still there", pid)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
