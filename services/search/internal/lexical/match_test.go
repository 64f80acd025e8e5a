package lexical

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

func TestMatch(t *testing.T) {
	x := open(t, filepath.Join(t.TempDir(), "x"))
	defer x.Close()
	put(t, x, "boundary layer flow", "layer boundary", "layer layer boundary layer", "les nations unies", "gone boundary layer")
	if err := x.Write(nil, []Key{{No: 5}}); err != nil {
		t.Fatal(err)
	}
	v, err := x.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for phrase, want := range map[string][]uint32{
		"boundary":             {1, 2, 3},
		"boundary layers":      {1, 3},
		"layer boundary":       {2, 3},
		"layer layer boundary": {3},
		"layer layer layer":    nil,
		"nation unie":          {4},
		"boundary zebra":       nil,
		"":                     nil,
	} {
		got, err := v.Match(t.Context(), analysis.PhraseOf(phrase), rowsByNo())
		if err != nil || !slices.Equal(got.ToArray(), want) && got.GetCardinality()+uint64(len(want)) > 0 {
			t.Errorf("%q: got %v, %v, want %v", phrase, got, err, want)
		}
	}
	got, err := v.MatchAny(t.Context(), analysis.Query("flow nations"), rowsByNo())
	if err != nil || !slices.Equal(got.ToArray(), []uint32{1, 4}) {
		t.Errorf("any: got %v, %v", got, err)
	}
	terms, err := v.Near("boundary", 2)
	if err != nil || !slices.Equal(terms, []string{"boundari"}) {
		t.Errorf("near: got %v, %v", terms, err)
	}
}

// An index without positions is made anew.
func TestAnOldIndexIsMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	x := open(t, dir)
	put(t, x, "boundary layer")
	if err := x.bleve.SetInternal([]byte(versionKey), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir)
	defer x.Close()
	if err := x.Keys(func(k Key) bool { t.Errorf("%v is still there", k); return true }); err != nil {
		t.Fatal(err)
	}
}
