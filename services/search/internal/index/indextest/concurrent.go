package indextest

import (
	"context"
	"sync"

	"github.com/poterne/poterne/services/search/internal/index"
)

// searchesSeeWholeChanges moves one word from version to version while it is
// searched for: exactly one version has it at any time.
func searchesSeeWholeChanges(f *fixture) {
	t := f.t
	f.replace(1, doc{no: 1, id: "a", texts: []string{"needle one", "needle two"}})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				legs, err := f.c.Search(context.WithoutCancel(ctx), query("needle", 10))
				if err != nil {
					t.Error(err)
					return
				}
				for _, hits := range [][]index.Hit{legs.Lexical, legs.Vector} {
					if len(hits) != 2 || hits[0].No != legs.Sequence || hits[1].No != legs.Sequence {
						t.Errorf("generation %d finds %v", legs.Sequence, hits)
						return
					}
				}
			}
		})
	}
	for no := int64(2); no < 100; no++ {
		f.apply(no, []int64{no - 1}, doc{no: no, id: "a", texts: []string{"needle one", "needle two"}})
	}
	stop()
	wg.Wait()
}
