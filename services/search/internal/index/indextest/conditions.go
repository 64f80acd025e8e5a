package indextest

import (
	"math"
	"testing"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

func phrases(texts ...string) []analysis.Phrase {
	out := make([]analysis.Phrase, len(texts))
	for i, s := range texts {
		out[i] = analysis.PhraseOf(s)
	}
	return out
}

// matching returns what both legs find, which must be the same documents.
func (f *fixture) matching(q index.Query) map[string]bool {
	f.t.Helper()
	legs := f.search(q)
	out := make(map[string]bool)
	for _, h := range legs.Vector {
		out[h.ChunkID] = true
	}
	for _, h := range legs.Lexical {
		if !out[h.ChunkID] {
			f.t.Errorf("%s is in the lexical leg only", h.ChunkID)
		}
	}
	return out
}

func wantIDs(t *testing.T, what string, got map[string]bool, want ...string) {
	t.Helper()
	missing := len(got) != len(want)
	for _, id := range want {
		missing = missing || !got[id]
	}
	if missing {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// phrasesAreConditions looks for phrases in the order of their words, in the
// stems of either language, beside words that all passages have.
func phrasesAreConditions(f *fixture) {
	t := f.t
	f.replace(1,
		doc{no: 1, id: "gone", texts: []string{"common boundary layer flow"}},
	)
	f.apply(3, []int64{1},
		doc{no: 2, id: "a", texts: []string{"common boundary layers of the wing", "common layer and boundary", "common wing layer boundary layer"}},
		doc{no: 3, id: "b", texts: []string{"les nations unies dans la couche limite common", "common unies nations the wing the flow"}},
	)
	f.apply(4, nil, doc{no: 4, id: "hidden", texts: []string{"common boundary layer"}, principals: []string{"user:x"}})
	for what, tc := range map[string]struct {
		require, exclude []string
		want             []string
	}{
		"nothing":             {nil, nil, []string{"a#0", "a#1", "a#2", "b#0", "b#1"}},
		"a phrase":            {[]string{"boundary layer"}, nil, []string{"a#0", "a#2"}},
		"its other order":     {[]string{"layer boundary"}, nil, []string{"a#2"}},
		"words between":       {[]string{"layers of the wings"}, nil, []string{"a#0"}},
		"repeated words":      {[]string{"layer boundary layer"}, nil, []string{"a#2"}},
		"not that often":      {[]string{"layer layer"}, nil, nil},
		"a French phrase":     {[]string{"nation unie"}, nil, []string{"b#0"}},
		"a word":              {[]string{"wing"}, nil, []string{"a#0", "a#2", "b#1"}},
		"a function word":     {[]string{"the"}, nil, []string{"a#0", "b#1"}},
		"two":                 {[]string{"wing", "boundary layer"}, nil, []string{"a#0", "a#2"}},
		"without a word":      {nil, []string{"wing"}, []string{"a#1", "b#0"}},
		"without a phrase":    {nil, []string{"boundary layer", "unies nations"}, []string{"a#1", "b#0"}},
		"with and without":    {[]string{"layer"}, []string{"boundary layer"}, []string{"a#1"}},
		"both ways":           {[]string{"wing"}, []string{"wing"}, nil},
		"what is nowhere":     {[]string{"zebra"}, nil, nil},
		"not what is nowhere": {nil, []string{"zebra crossing"}, []string{"a#0", "a#1", "a#2", "b#0", "b#1"}},
		"no words":            {[]string{""}, nil, nil},
	} {
		q := query("common", 10)
		q.Require, q.Exclude = phrases(tc.require...), phrases(tc.exclude...)
		wantIDs(t, what, f.matching(q), tc.want...)
	}
	// Conditions choose and do not score.
	q := query("wing", 10)
	q.Vector = nil
	scores := make(map[string]float64)
	for _, h := range f.search(q).Lexical {
		scores[h.ChunkID] = h.Score
	}
	q.Require = phrases("boundary layer")
	hits := f.search(q).Lexical
	if len(hits) != 2 {
		t.Errorf("got %v", hits)
	}
	for _, h := range hits {
		if math.Abs(h.Score-scores[h.ChunkID]) > 1e-6 {
			t.Errorf("%s scores %v with a condition, %v without", h.ChunkID, h.Score, scores[h.ChunkID])
		}
	}
	f.apply(5, []int64{2})
	q.Require = phrases("boundary layer")
	f.want(q, "", "")
}

func momentsAndPlaces(f *fixture) {
	t := f.t
	place := func(lat, lon float64) map[string]any { return map[string]any{"lat": lat, "lon": lon} }
	f.replace(6,
		doc{no: 1, id: "a", texts: []string{"x"}, metadata: map[string]any{"at": "2024-05-01T12:00:00+02:00", "where": place(48.8566, 2.3522)}},
		doc{no: 2, id: "b", texts: []string{"x"}, metadata: map[string]any{"at": "2024-05-01T11:00:00Z", "where": place(45.764, 4.8357)}},
		doc{no: 3, id: "c", texts: []string{"x"}, metadata: map[string]any{"at": "2024-05-02", "where": place(-33.8688, 151.2093), "other": place(48.8566, 2.3522)}},
		doc{no: 4, id: "d", texts: []string{"x"}, metadata: map[string]any{"at": "soon", "where": place(91, 0), "times": []any{"2024-05-01T10:00:00Z", "no"}}},
		doc{no: 5, id: "e", texts: []string{"x"}, metadata: map[string]any{"at": 2024.0, "where": "Paris"}},
	)
	for filter, want := range map[string][]string{
		`at = timestamp("2024-05-01T10:00:00Z")`:                            {"a#0"},
		`at < timestamp("2024-05-01T11:00:00Z")`:                            {"a#0"},
		`at <= timestamp("2024-05-01T13:00:00+02:00")`:                      {"a#0", "b#0"},
		`at > timestamp("2024-05-01T10:00:00.000000001Z")`:                  {"b#0", "c#0"},
		`at >= timestamp("2024-05-02")`:                                     {"c#0"},
		`at != timestamp("2024-05-02T00:00:00Z")`:                           {"a#0", "b#0", "d#0", "e#0"},
		`times:timestamp("2024-05-01T12:00:00+02:00")`:                      {"d#0"},
		`times = timestamp("2024-05-01T12:00:00+02:00")`:                    nil,
		`at:timestamp("2024-05-02")`:                                        {"c#0"},
		`NOT at < timestamp("2030-01-01")`:                                  {"d#0", "e#0"},
		`distance(where, 48.85, 2.35) <= 5000`:                              {"a#0"},
		`distance(where, 48.85, 2.35) < 400000`:                             {"a#0", "b#0"},
		`distance(where, 48.85, 2.35) > 5000`:                               {"b#0", "c#0"},
		`distance(where, 48.85, 2.35) >= 400000`:                            {"c#0"},
		`NOT distance(where, 48.85, 2.35) <= 400000`:                        {"c#0", "d#0", "e#0"},
		`distance(other, 48.85, 2.35) <= 5000`:                              {"c#0"},
		`distance(nowhere, 48.85, 2.35) <= 5000`:                            nil,
		`distance(nowhere, 48.85, 2.35) > 5000`:                             nil,
		`distance(where, 48, 2) <= 300000 AND at < timestamp("2024-05-02")`: {"a#0"},
	} {
		q := query("x", 10)
		q.Filter = mustParse(t, filter)
		wantIDs(t, filter, f.matching(q), want...)
	}
	f.apply(7, []int64{1})
	q := query("x", 10)
	q.Filter = mustParse(t, `distance(where, 48.85, 2.35) <= 400000`)
	wantIDs(t, "after a removal", f.matching(q), "b#0")
}

// termsAreNear has terms that only others' passages have near those that the
// caller may read.
func termsAreNear(f *fixture) {
	t := f.t
	f.replace(4,
		doc{no: 1, id: "a", texts: []string{"boundary of wing", "boundary again"}, metadata: map[string]any{"n": 1.0}},
		doc{no: 2, id: "b", texts: []string{"bounder écoulement zqz"}, principals: []string{"user:x"}},
		doc{no: 3, id: "c", texts: []string{"bounding boundary"}, principals: []string{"user:y", "user:z"}},
		doc{no: 4, id: "gone", texts: []string{"boundarx"}},
	)
	f.apply(5, []int64{4})
	for _, tc := range []struct {
		principals []string
		near       index.Near
		want       map[string]int
		filter     string
	}{
		{[]string{"tenant:acme"}, index.Near{Term: "boundari", Edits: 2}, map[string]int{"boundari": 2}, ""},
		{[]string{"tenant:acme"}, index.Near{Term: "boudnari", Edits: 1}, map[string]int{"boundari": 2}, ""},
		{[]string{"tenant:acme"}, index.Near{Term: "boudnary", Edits: 1}, nil, ""},
		{[]string{"tenant:acme"}, index.Near{Term: "boudnary", Edits: 2}, map[string]int{"boundari": 2}, ""},
		{[]string{"user:x"}, index.Near{Term: "boundari", Edits: 2}, map[string]int{"bounder": 1}, ""},
		{[]string{"user:x", "tenant:acme"}, index.Near{Term: "boundari", Edits: 2}, map[string]int{"bounder": 1, "boundari": 2}, ""},
		{[]string{"user:y", "user:z", "tenant:acme"}, index.Near{Term: "boundari", Edits: 0}, map[string]int{"boundari": 3}, ""},
		{[]string{"tenant:acme"}, index.Near{Term: "bounder", Edits: 0}, nil, ""},
		{[]string{"tenant:acme"}, index.Near{Term: "zqz", Edits: 1}, nil, ""},
		{[]string{"user:nobody"}, index.Near{Term: "boundari", Edits: 2}, nil, ""},
		{nil, index.Near{Term: "boundari", Edits: 2}, nil, ""},
		{[]string{"user:y", "user:x", "tenant:acme"}, index.Near{Term: "boundari", Edits: 2}, map[string]int{"boundari": 2}, "n = 1"},
		{[]string{"tenant:acme"}, index.Near{Term: "boundari", Edits: 2}, nil, "n = 2"},
	} {
		found, err := f.c.Near(t.Context(), tc.principals, mustParse(t, tc.filter), []index.Near{{Term: "wing"}, tc.near})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for _, n := range found[1] {
			got[n.Term] = n.Passages
		}
		same := len(got) == len(tc.want)
		for term, n := range tc.want {
			same = same && got[term] == n
		}
		if !same {
			t.Errorf("%v as %v: got %v, want %v", tc.near, tc.principals, got, tc.want)
		}
	}
}
