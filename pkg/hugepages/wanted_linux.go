package hugepages

import (
	"os"
	"strings"

	"github.com/poterne/poterne/pkg/cgroup"
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
	limit, ok := cgroup.MemoryLimit("/")
	return ok && limit < scarce
}
