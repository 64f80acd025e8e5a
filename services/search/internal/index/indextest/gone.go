package indextest

import (
	"strings"
	"time"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// whatHasEndedTakesNoPlace holds the filter by which searches leave out documents
// that have ended, alone and beside others.
func whatHasEndedTakesNoPlace(f *fixture) {
	f.replace(1)
	end := time.UnixMilli(1_700_000_000_000)
	docs := build(f.t,
		doc{no: 2, id: "a", texts: []string{"same words"}, metadata: map[string]any{"year": 2020.0}},
		doc{no: 3, id: "b", texts: []string{"same words"}, metadata: map[string]any{"year": 2020.0}},
		doc{no: 4, id: "c", texts: []string{"same words"}})
	docs[0].Fields = append([]filter.Field{filter.Expiry(end)}, docs[0].Fields...)
	docs[2].Fields = append([]filter.Field{filter.Expiry(end.Add(time.Second))}, docs[2].Fields...)
	if err := f.c.Apply(f.t.Context(), index.Changes{Through: 4, Put: docs}); err != nil {
		f.t.Fatal(err)
	}
	for _, tt := range []struct {
		now  time.Time
		only string
		want string
	}{
		{end.Add(-time.Millisecond), "", "a#0 b#0 c#0"},
		{end, "", "b#0 c#0"},
		{end.Add(time.Hour), "", "b#0"},
		{end.Add(-time.Hour), "year = 2020", "a#0 b#0"},
		{end, "NOT year = 2020", "c#0"},
		{end.Add(time.Hour), "NOT year = 2020", ""},
	} {
		q := query("same words", 10)
		if tt.only != "" {
			q.Filter = mustParse(f.t, tt.only)
		}
		q.Filter = filter.Live(q.Filter, tt.now)
		f.want(q, tt.want, tt.want)
	}
}

// whatIsRemovedIsInNoLeg asks for a removed document in every way that there is.
func whatIsRemovedIsInNoLeg(f *fixture) {
	f.replace(1)
	f.apply(3, nil,
		doc{no: 2, id: "gone", texts: []string{"the secret xylophone", "a hidden xylophone"}, metadata: map[string]any{"k": "v"}},
		doc{no: 3, id: "stays", texts: []string{"an open piano"}, metadata: map[string]any{"k": "v"}})
	f.apply(4, []int64{2})
	check := func() {
		f.t.Helper()
		for _, restriction := range []string{"", `k = "v"`, `NOT k = "w"`} {
			q := query("xylophone secret hidden", 100)
			if restriction != "" {
				q.Filter = mustParse(f.t, restriction)
			}
			legs := f.search(q)
			for _, hit := range append(legs.Lexical, legs.Vector...) {
				if strings.HasPrefix(hit.ChunkID, "gone") {
					f.t.Errorf("%q finds %s", restriction, hit.ChunkID)
				}
			}
			if len(legs.Lexical) != 0 {
				f.t.Errorf("%q: the lexical leg has %v", restriction, legs.Lexical)
			}
		}
	}
	check()
	f.restart()
	if f.c.Sequence() < 4 { // an index may have to be made anew after a restart
		f.replace(4, doc{no: 3, id: "stays", texts: []string{"an open piano"}, metadata: map[string]any{"k": "v"}})
	}
	check()
}
