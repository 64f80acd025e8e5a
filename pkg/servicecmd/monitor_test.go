//go:build linux

package servicecmd_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/servicecmd"
)

const actAsService = "SERVICECMD_TEST_CALM"

// TestMain lets the test binary be a service that calls CalmMonitor and tells what it
// began with, what its children would see, and who it is.
func TestMain(m *testing.M) {
	if os.Getenv(actAsService) == "" {
		m.Run()
		return
	}
	servicecmd.CalmMonitor()
	began, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	for setting := range strings.SplitSeq(string(began), "\x00") {
		if strings.HasPrefix(setting, "GODEBUG=") {
			fmt.Fprintln(os.Stdout, "began", setting)
		}
	}
	fmt.Fprintf(os.Stdout, "now %s\npid %d\nargs %q\n", os.Getenv("GODEBUG"), os.Getpid(), os.Args[1:])
}

func TestTheMonitorIsCalm(t *testing.T) {
	for set, want := range map[string][2]string{
		"GODEBUG=":               {"GODEBUG=schedtrace=2147483647", ""},
		"GODEBUG=madvdontneed=1": {"GODEBUG=madvdontneed=1,schedtrace=2147483647", "madvdontneed=1"},
		"GODEBUG=schedtrace=0":   {"GODEBUG=schedtrace=0", "schedtrace=0"},
	} {
		t.Run(set, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-x", "a b")
			cmd.Env = append(os.Environ(), actAsService+"=1", set)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			said := fmt.Sprintf("began %s\nnow %s\npid %d\nargs [\"-x\" \"a b\"]\n", want[0], want[1], cmd.Process.Pid)
			if string(out) != said {
				t.Errorf("said\n%swant\n%s", out, said)
			}
		})
	}
}
