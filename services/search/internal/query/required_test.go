package query

import (
	"testing"

	"github.com/poterne/poterne/services/search/internal/store"
)

// TestKeep: whatever a page token names, what does not pass is not shown.
func TestKeep(t *testing.T) {
	passages := func() map[store.Ref]store.Passage {
		return map[store.Ref]store.Passage{
			{No: 1}: {Metadata: []byte(`{"class":"public"}`)}, {No: 2}: {Metadata: []byte(`{"class":"secret"}`)},
			{No: 3}: {Metadata: []byte(`{"class":["public","secret"]}`)}, {No: 4}: {Metadata: nil}, {No: 5}: {Metadata: []byte(`{}`)},
		}
	}
	for filter, want := range map[string][]int64{
		`NOT class:"secret"`: {1, 4, 5}, `class = "public"`: {1}, "": {1, 2, 3, 4, 5}, `NOT class:*`: {4, 5},
	} {
		got := passages()
		if err := keep(filter, got); err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", filter, got, err)
		}
		for _, no := range want {
			if _, ok := got[store.Ref{No: no}]; !ok {
				t.Errorf("%s: %d is gone", filter, no)
			}
		}
	}
	if keep("(", passages()) == nil {
		t.Error("a filter that is none")
	}
	bad := map[store.Ref]store.Passage{{No: 1}: {Metadata: []byte("{")}}
	if keep("NOT class:*", bad) == nil {
		t.Error("metadata that is none")
	}
}
