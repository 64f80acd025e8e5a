package store_test

import (
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Of sixteen writers that read the same alias and write at once, on two replicas,
// exactly one wins each round; the others are told the etag that the winner made.
func (s suite) sixteenWriters(t *testing.T) {
	const writers, rounds = 16, 8
	e := newEnv(t, s.databases, store.Options{})
	replicas := []*store.Store{e.Store, e.open()}
	e.model("m")
	for seed := range writers + 1 {
		e.version("m", seed)
	}
	etag, current := "", int32(0)
	for round := range rounds {
		var (
			mu   sync.Mutex
			won  []*registryv1.Alias
			told []string
		)
		together(writers, func(w int) {
			// Every writer has a version of its own, none the one that is there.
			version := (current+int32(w))%(writers+1) + 1
			a, err := replicas[w%2].SetAlias(t.Context(), "", "m", "a", version, etag)
			mu.Lock()
			defer mu.Unlock()
			switch apierr.ReasonOf(err) {
			case "":
				won = append(won, a)
			case apierr.Conflict:
				told = append(told, apierr.From(err).Metadata["etag"])
			default:
				t.Errorf("round %d, writer %d: %v", round, w, err)
			}
		})
		if len(won) != 1 || len(told) != writers-1 {
			t.Fatalf("round %d: %d won, %d were told of a conflict", round, len(won), len(told))
		}
		etag, current = won[0].GetEtag(), won[0].GetVersion()
		for _, other := range told {
			if other != etag {
				t.Fatalf("round %d: a conflict tells the etag %q, the winner made %q", round, other, etag)
			}
		}
	}
}
