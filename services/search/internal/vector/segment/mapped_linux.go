package segment

import (
	"bytes"
	"os"
	"strconv"
)

// Mapped returns how many bytes of mapped files, whoever mapped them, count as the
// process's memory; 0 where that is not known.
func Mapped() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 3 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
