package testkit

import (
	"bufio"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Resident returns how many bytes of files whose path begins with prefix are in this
// process's memory as mappings, by proc(5), smaps.
func Resident(tb testing.TB, prefix string) int {
	tb.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	sum, ours := 0, false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if first := fields[0]; !strings.HasSuffix(first, ":") { // its addresses; behind them its file
			ours = len(fields) > 5 && strings.HasPrefix(fields[5], prefix)
		} else if ours && first == "Rss:" {
			kb, err := strconv.Atoi(fields[1])
			if err != nil {
				tb.Fatal(err)
			}
			sum += kb << 10
		}
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return sum
}
