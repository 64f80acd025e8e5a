//go:build unix

package servicecmd

import (
	"os"
	"strings"
	"syscall"
)

// calmSetting keeps the runtime's monitor thread from the deep sleep from which every
// call of the system wakes it (docs/adr/0077). It is not for its trace, whose first line
// it puts off for as long as the setting allows: 24 days of the machine's uptime.
const calmSetting = "schedtrace=2147483647"

// CalmMonitor has the runtime's monitor thread sleep by the clock. Go reads the setting
// for that only at a start and from the environment, so the program begins once more, as
// the same process, unless GODEBUG says something of it. Programs that it starts do not
// see the setting. It is called before anything is opened; where the program cannot
// begin again, all stays as it is.
func CalmMonitor() {
	was := os.Getenv("GODEBUG")
	if before, again := strings.CutSuffix(was, calmSetting); again {
		if before = strings.TrimSuffix(before, ","); before != "" {
			_ = os.Setenv("GODEBUG", before)
		} else {
			_ = os.Unsetenv("GODEBUG")
		}
		return
	}
	if strings.Contains(was, "schedtrace=") {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	setting := calmSetting
	if was != "" {
		setting = was + "," + setting
	}
	_ = os.Setenv("GODEBUG", setting)
	_ = syscall.Exec(program, os.Args, os.Environ())
	if was == "" {
		_ = os.Unsetenv("GODEBUG")
	} else {
		_ = os.Setenv("GODEBUG", was)
	}
}
