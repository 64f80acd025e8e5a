package store

import (
	"fmt"
	"path/filepath"
	"testing"
)

// Versions of many chunks make short pages, and nothing is passed over.
func TestPagesAreBoundedByChunks(t *testing.T) {
	s := open(t, "sqlite://"+filepath.Join(t.TempDir(), "truth.db"))
	c := newCollection(t, s, "c")
	for i := range 3 {
		v := Version{Document: Document{ID: fmt.Sprint("d", i), Metadata: []byte("{}")}}
		for n := range pageChunks - 1 {
			v.Chunks = append(v.Chunks, Chunk{Number: n, Vector: []float32{1}})
		}
		if _, _, err := s.Upsert(t.Context(), c, Write{By: Rights{All: true}, Digest: "d", Dimensions: 1, Documents: []Version{v}}); err != nil {
			t.Fatal(err)
		}
	}
	var pages []int
	for since, complete := int64(1), false; !complete; {
		ch, err := s.Changes(t.Context(), c, since, 100)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, len(ch.Versions))
		since, complete = ch.Through, ch.Complete
	}
	if got := fmt.Sprint(pages); got != "[2 1]" {
		t.Errorf("pages of %s versions", got)
	}
}
