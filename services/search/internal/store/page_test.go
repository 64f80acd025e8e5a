package store

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
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
	// So do those of everything for a reader that keeps some: its first version
	// comes before the last is asked about.
	var order []string
	kept := func(no int64, _ int) bool { order = append(order, fmt.Sprint("asked ", no)); return false }
	err := s.SnapshotExcept(t.Context(), c, kept, func(_ int64, versions iter.Seq2[Version, error]) error {
		for v, err := range versions {
			if err != nil || len(v.Chunks) != pageChunks-1 {
				t.Errorf("%d chunks, %v", len(v.Chunks), err)
			}
			order = append(order, fmt.Sprint("told ", v.No))
		}
		return nil
	})
	if got := strings.Join(order, ", "); err != nil || got != "asked 2, asked 3, told 2, told 3, asked 4, told 4" {
		t.Errorf("%s, %v", got, err)
	}
}

func idsAreInByteOrder(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("b", "x"), version("B", "x"), version("a-1", "x"), version("a", "x"), version("é", "x"))
	var got []string
	for after := ""; ; {
		ds, err := s.Documents(t.Context(), c, everybody(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(ds) == 0 {
			break
		}
		for _, d := range ds {
			got, after = append(got, d.ID), d.ID
		}
	}
	if want := []string{"B", "a", "a-1", "b", "é"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
