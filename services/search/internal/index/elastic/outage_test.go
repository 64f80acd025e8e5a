package elastic_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/index"
)

// A cluster that is gone is known to be after a few calls: the others fail at
// once, and one that tries again finds it when it is back.
func TestAClusterThatIsAwayIsNotWaitedFor(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	cut := func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
		if last == "_msearch" {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	n.set(func() { n.trouble = cut })
	for range 5 {
		if _, err := c.Search(t.Context(), question()); err == nil {
			t.Fatal("answered")
		}
	}
	n.set(func() { n.calls["_msearch"] = 0 })
	for range 100 {
		if _, err := c.Search(t.Context(), question()); err == nil {
			t.Fatal("answered")
		}
	}
	if got := n.count("_msearch"); got > 6 { // a probe in a second, three times each
		t.Errorf("a hundred searches made %d calls to a cluster that is away", got)
	}
	n.set(func() { n.trouble = nil })
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := c.Search(t.Context(), question()); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("still given up")
		}
	}
}

// Answers are no outage, whatever they say.
func TestAnswersDoNotOpenTheBreaker(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	n.set(func() {
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
			if last == "_msearch" {
				w.WriteHeader(http.StatusBadRequest)
			}
			return last == "_msearch"
		}
		n.calls["_msearch"] = 0
	})
	for range 10 {
		_, _ = c.Search(t.Context(), question())
	}
	if got := n.count("_msearch"); got != 10 {
		t.Errorf("10 searches made %d calls", got)
	}
}

// A change that fails half way is made again from what is noted in the cluster,
// and nothing is made anew.
func TestAFailedChangeGoesOn(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	n.set(func() {
		n.item = func(string, int) (int, string) { return http.StatusBadRequest, "mapper_parsing_exception" }
	})
	change := index.Changes{Through: 2, Put: documents(2)}
	if err := c.Apply(t.Context(), change); err == nil {
		t.Fatal("applied")
	}
	n.set(func() { n.item = nil })
	if err := c.Apply(t.Context(), change); err != nil || errors.Is(err, index.ErrReplace) {
		t.Fatal(err)
	}
	if c.Sequence() != 2 {
		t.Errorf("generation %d", c.Sequence())
	}
}

// An index that somebody has deleted is made anew instead of failing for ever.
func TestAnIndexThatIsGoneAsksToBeReplaced(t *testing.T) {
	n := newNode(t)
	c := n.open(nil)
	replace(t, c, documents(1)...)
	n.set(func() {
		n.trouble = func(w http.ResponseWriter, _ *http.Request, last string, _ int) bool {
			if last == "_msearch" {
				gone := `{"status":404,"error":{"type":"index_not_found_exception"}}`
				_, _ = w.Write([]byte(`{"responses":[` + gone + "," + gone + `]}`))
			}
			return last == "_msearch"
		}
	})
	if _, err := c.Search(t.Context(), question()); err == nil || c.Sequence() != 0 {
		t.Errorf("got %v, generation %d", err, c.Sequence())
	}
}
