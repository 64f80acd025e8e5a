//go:build real

package follow

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
)

// aliased returns the aliases of the cluster with the index that each names,
// without what makes that unique.
func aliased(t *testing.T, url string) (out []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/_alias", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]struct {
		Aliases map[string]json.RawMessage `json:"aliases"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	for name, a := range answer {
		name, _, _ = strings.Cut(name, "--")
		for alias := range a.Aliases {
			out = append(out, alias+" is "+name)
		}
	}
	slices.Sort(out)
	return out
}

// In a real cluster an index of another analyser is made anew under the next name
// while the first is searched, the aliases move to it, and back again with the
// analyser before.
func TestRealAnotherAnalyserMovesTheAliases(t *testing.T) {
	url := testkit.Elasticsearch(t).URL
	f, _, s, c := setup(t)
	for round, analyser := range []int{1, 2, 3, 2} {
		x, err := elastic.New(elastic.Options{
			Addresses: []string{url}, Prefix: "moves", Timeout: time.Minute, IDs: ids.UUIDv7(), Clock: clock.Real(),
		})
		if err != nil {
			t.Fatal(err)
		}
		o := f.o
		o.Index, o.Analyser, o.Poll = x, analyser, 10*time.Millisecond
		now := New(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- now.Run(ctx, func(State) {}) }()
		// Written while it is made anew, and found whichever is asked.
		through := write(t, s, c, fmt.Sprint("d", round))
		ic, err := now.CatchUp(ctx, c, through)
		if err != nil {
			t.Fatal(err)
		}
		if n := found(t, ic); n != round+1 {
			t.Errorf("analyser %d: %d documents are found, of %d", analyser, n, round+1)
		}
		name := "moves-uid"
		if analyser > 1 {
			name += fmt.Sprint(".a", analyser)
		}
		want := []string{name + " is " + name, "moves-uid.serving is " + name}
		slices.Sort(want)
		deadline := time.After(time.Minute)
		for got := aliased(t, url); !slices.Equal(got, want); got = aliased(t, url) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-deadline:
				t.Fatalf("analyser %d: the aliases are %v, want %v", analyser, got, want)
			}
		}
		if ic, err = now.CatchUp(ctx, c, through); err != nil {
			t.Fatal(err)
		}
		if n := found(t, ic); n != round+1 {
			t.Errorf("analyser %d, anew: %d documents are found, of %d", analyser, n, round+1)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := now.Close(); err != nil {
			t.Error(err)
		}
	}
}

// found returns how many passages an index finds by their vectors.
func found(t *testing.T, ic index.Collection) int {
	t.Helper()
	r, err := ic.Search(t.Context(), index.Query{Vector: []float32{1}, Limit: 100, Principals: []string{"tenant:acme"}})
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Vector)
}
