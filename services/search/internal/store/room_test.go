package store

import (
	"fmt"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
)

// Each writer has looked before, and found room for its own document.
func roomIsSharedByWriters(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	const most, writers = 3, 8
	full := make([]bool, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			out, _, err := s.Upsert(t.Context(), c, Write{
				By: Rights{All: true}, Digest: "d1", Dimensions: 2, MaxChunks: most,
				Documents: []Version{version(fmt.Sprint(i), "text")},
			})
			if err != nil {
				t.Error(err)
				return
			}
			full[i] = out[0].Full
		})
	}
	wg.Wait()
	after, err := s.Collection(t.Context(), "acme", "c")
	if err != nil || after.ChunkCount != most || after.DocumentCount != most {
		t.Errorf("%+v, %v", after, err)
	}
	for i, refused := range full {
		_, err := s.Document(t.Context(), c, everybody(), fmt.Sprint(i))
		if refused != (apierr.ReasonOf(err) == apierr.NotFound) {
			t.Errorf("document %d: full %v, read: %v", i, refused, err)
		}
		out, _, uerr := s.Upsert(t.Context(), c, Write{
			By: Rights{All: true}, MaxChunks: most, Documents: []Version{version(fmt.Sprint(i), "new")},
		})
		if uerr != nil || out[0].Full != refused { // one that is there may be replaced by as much
			t.Errorf("again document %d: %+v, %v", i, out, uerr)
		}
	}
}
