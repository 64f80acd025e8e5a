package sse_test

import (
	"strings"
	"testing"
	"testing/iotest"

	"github.com/poterne/poterne/services/worker/internal/sse"
)

// An event counts as pending when all of it was read, and not before.
func TestPendingIsAWholeEvent(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"alone":             {"data: a\n\n", false},
		"with a whole one":  {"data: a\n\ndata: b\n\n", true},
		"with a beginning":  {"data: a\n\ndata: b\n", false},
		"with CR LF":        {"data: a\r\n\r\ndata: b\r\n\r\n", true},
		"with CR LF, begun": {"data: a\r\n\r\ndata: b\r\n", false},
	} {
		r := sse.NewReader(strings.NewReader(c.text), 1<<10)
		if _, err := r.Next(); err != nil || r.Pending() != c.want {
			t.Errorf("%s: %v, %v", name, r.Pending(), err)
		}
	}
	r := sse.NewReader(iotest.OneByteReader(strings.NewReader("data: a\n\ndata: b\n\n")), 1<<10)
	if _, err := r.Next(); err != nil || r.Pending() {
		t.Errorf("what has not been read is pending: %v", err)
	}
}
