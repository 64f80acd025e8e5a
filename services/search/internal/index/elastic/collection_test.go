package elastic

import (
	"context"
	"testing"
)

func newView() *view { return &view{idle: make(chan struct{})} }

// A search may outlast several changes; what it looks at is not taken away.
func TestWritersWaitForEveryOlderSearch(t *testing.T) {
	c := &collection{}
	c.exchange(newView())
	old, err := c.acquire()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.exchange(newView())
	}
	present, err := c.acquire() // which nobody waits for
	if err != nil || present == old {
		t.Fatalf("got the old view, %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if c.quiet(ended) == nil {
		t.Error("a search with the oldest view is not waited for")
	}
	c.release(old)
	if err := c.quiet(t.Context()); err != nil {
		t.Error(err)
	}
	c.release(present)
}
