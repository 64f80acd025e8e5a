package indextest

import (
	"fmt"
	"strings"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
)

func shown(v filter.Value) string {
	switch v.Kind {
	case filter.Number:
		return fmt.Sprint(v.Number)
	case filter.Bool:
		return fmt.Sprint(v.Number == 1)
	case filter.String, filter.Time:
		fallthrough
	default:
		return fmt.Sprintf("%q", v.Text)
	}
}

func counts(c index.Counts) string {
	var out []string
	for _, v := range c.Values {
		out = append(out, fmt.Sprintf("%s:%d", shown(v.Value), v.Count))
	}
	out = append(out, fmt.Sprintf("other:%d missing:%d", c.Other, c.Missing))
	if len(c.Ranges) > 0 {
		out = append(out, fmt.Sprint(c.Ranges))
	}
	return strings.Join(out, " ")
}

func (f *fixture) wantCounts(what string, q index.Query, facet index.Facet, want string) {
	f.t.Helper()
	q.Facets = []index.Facet{facet}
	if got := counts(f.search(q).Facets[0]); got != want {
		f.t.Errorf("%s, %s: got %s, want %s", what, facet.Path, got, want)
	}
}

func between(from, to *filter.Value) index.Range { return index.Range{From: from, To: to} }

func num(n float64) *filter.Value { v := filter.NumberValue(n); return &v }

func moment(s string) *filter.Value {
	t, _ := filter.Instant(s)
	v := filter.TimeValue(t)
	return &v
}

// facetsCountDocuments has documents of several passages, of which some satisfy
// a query and some do not.
func facetsCountDocuments(f *fixture) {
	f.replace(1, doc{no: 1, id: "gone", texts: []string{"common"}, metadata: map[string]any{"lang": "fr", "old": true}})
	f.apply(6, []int64{1},
		doc{no: 2, id: "a", texts: []string{"common wing", "common heat", "wing"}, metadata: map[string]any{
			"lang": "fr", "year": 2020.0, "tags": []any{"x", "y"}, "at": "2024-05-01T23:30:00-01:00",
		}},
		doc{no: 3, id: "b", texts: []string{"common heat", "common flow"}, metadata: map[string]any{
			"lang": "en", "year": 2021.5, "tags": []any{"y"}, "at": "2024-05-01",
		}},
		doc{no: 4, id: "c", texts: []string{"common wing", "wing"}, metadata: map[string]any{
			"lang": "fr", "year": "2020", "tags": "y", "at": 1.0,
		}},
		doc{no: 5, id: "d", texts: []string{"alone"}, metadata: map[string]any{
			"lang": []any{}, "year": -3.0, "draft": false,
		}},
		doc{no: 6, id: "e", texts: []string{"alone wing"}},
	)
	everything := query("common", 10)
	words := everything
	words.Vector = nil
	lang, year, tags := index.Facet{Path: "lang", Limit: 10}, index.Facet{Path: "year", Limit: 10}, index.Facet{Path: "tags", Limit: 10}
	f.wantCounts("all", everything, lang, `"fr":2 "en":1 other:0 missing:1`)
	f.wantCounts("all", everything, year, `-3:1 2020:1 2021.5:1 "2020":1 other:0 missing:1`)
	f.wantCounts("all", everything, tags, `"y":3 "x":1 other:0 missing:2`)
	f.wantCounts("all", everything, index.Facet{Path: "tags", Limit: 1}, `"y":3 other:1 missing:2`)
	f.wantCounts("all", everything, index.Facet{Path: "old", Limit: 1}, `other:0 missing:5`)
	f.wantCounts("all", everything, index.Facet{Path: "draft", Limit: 1}, `false:1 other:0 missing:4`)
	f.wantCounts("words", words, lang, `"fr":2 "en":1 other:0 missing:0`)
	f.wantCounts("words", words, tags, `"y":3 "x":1 other:0 missing:0`)
	words.Filter = mustParse(f.t, `tags:x`)
	f.wantCounts("words and a filter", words, lang, `"fr":1 other:0 missing:0`)
	words.Filter = nil
	words.Require = phrases("heat")
	f.wantCounts("words and a required word", words, lang, `"en":1 "fr":1 other:0 missing:0`)
	words.Exclude = phrases("common")
	f.wantCounts("what no passage satisfies", words, lang, `other:0 missing:0`)
	everything.Require = phrases("wing")
	f.wantCounts("a required word", everything, tags, `"y":2 "x":1 other:0 missing:1`)
	everything.Exclude = phrases("common")
	f.wantCounts("required in one, excluded in another passage", everything, lang, `"fr":2 other:0 missing:1`)
	everything.Require, everything.Exclude = nil, nil
	f.wantCounts("ranges", everything, index.Facet{Path: "year", Limit: 1, Ranges: []index.Range{
		between(num(2020), num(2021.5)), between(num(2020), nil), between(nil, num(2020)), between(num(1), num(2)),
	}}, `-3:1 other:3 missing:1 [1 2 1 0]`)
	f.wantCounts("moments", everything, index.Facet{Path: "at", Limit: 0, Ranges: []index.Range{
		between(moment("2024-05-02"), moment("2024-05-03")), between(nil, moment("2024-05-02")), between(moment("2020-01-01"), nil),
	}}, `other:3 missing:2 [1 1 2]`)
	none := query("", 10)
	none.Vector, none.Terms = nil, nil
	f.wantCounts("nothing asked", none, lang, `other:0 missing:0`)
}

func facetsCountWhatMayBeRead(f *fixture) {
	var docs []doc
	for i := range 60 {
		d := doc{
			no: int64(i + 1), id: fmt.Sprintf("d%02d", i), texts: []string{"plan", "plan more"},
			metadata: map[string]any{"team": fmt.Sprint("t", i%7)}, principals: []string{"group:board"},
		}
		if i%5 == 0 {
			d.principals = []string{"user:zoe", "group:staff"}
			d.metadata["only"] = "zoe"
		}
		docs = append(docs, d)
	}
	f.replace(60, docs...)
	for _, vector := range []bool{true, false} {
		for who, want := range map[string][2]string{
			"user:zoe":    {`"zoe":12 other:0 missing:0`, `"t0":2 "t1":2 "t3":2 "t5":2 "t6":2 "t2":1 "t4":1 other:0 missing:0`},
			"group:board": {`other:0 missing:48`, `"t2":8 "t0":7 "t1":7 other:26 missing:0`},
			"user:eve":    {`other:0 missing:0`, `other:0 missing:0`},
		} {
			q := query("plan", 5)
			q.Principals = []string{who}
			if !vector {
				q.Vector = nil
			}
			limit := 10
			if who == "group:board" {
				limit = 3
			}
			f.wantCounts(who, q, index.Facet{Path: "only", Limit: limit}, want[0])
			f.wantCounts(who, q, index.Facet{Path: "team", Limit: limit}, want[1])
		}
	}
}

// valuesComeBack tells values of every kind, and of paths with any characters.
func valuesComeBack(f *fixture) {
	long := strings.Repeat("é", 200)
	path := "a.b \x00\"*é"
	f.replace(1, doc{no: 1, id: "a", texts: []string{"x"}, metadata: map[string]any{
		path: []any{0.0, -0.5, 1e300, -1e-300, true, false, "", "\x00", "b00", "true", "é\n", long + "1", long + "2"},
	}})
	f.wantCounts("every kind", query("x", 1), index.Facet{Path: path, Limit: 20},
		`-0.5:1 -1e-300:1 0:1 1e+300:1 false:1 true:1 "":1 "\x00":1 "b00":1 "true":1 "é\n":1 "`+strings.Repeat("é", 128)+`":1 other:0 missing:0`)
}

func ordersHold(f *fixture) {
	t := f.t
	f.replace(1)
	f.apply(9, nil,
		doc{no: 2, id: "a", title: "Wings", texts: []string{"word word", "word"}, metadata: map[string]any{"year": 2020.0, "tags": []any{"k", "b"}}, created: 5, updated: 9},
		doc{no: 3, id: "b", title: "Élan", texts: []string{"word other"}, metadata: map[string]any{"year": 1999.0, "tags": "c"}, created: 4, updated: 6},
		doc{no: 4, id: "c", texts: []string{"word and many more words in it"}, metadata: map[string]any{"year": "1999", "tags": []any{}}, created: 3, updated: 7},
		doc{no: 5, id: "d", title: "Area", texts: []string{"word"}, metadata: map[string]any{"tags": []any{"a", "z"}, "year": map[string]any{"x": 1.0}}, created: -2, updated: 8},
		doc{no: 6, id: "e", title: "Area", texts: []string{"nothing"}, metadata: map[string]any{"year": 0.0}},
		doc{no: 7, id: "f", title: "A", texts: []string{"word"}, metadata: map[string]any{"year": 0.0}, principals: []string{"user:x"}},
		doc{no: 8, id: "g", title: "Area", texts: []string{"word"}, metadata: map[string]any{"year": true}, created: 1, updated: 1},
	)
	for by, want := range map[string]string{
		"metadata.year":                  "b#0 a#0 a#1 g#0 c#0 d#0",
		"year desc":                      "c#0 g#0 a#0 a#1 b#0 d#0",
		"metadata.tags":                  "d#0 a#0 a#1 b#0 c#0 g#0",
		"metadata.tags desc":             "d#0 a#0 a#1 b#0 c#0 g#0",
		"title":                          "d#0 g#0 a#0 a#1 b#0 c#0",
		"title desc, create_time":        "b#0 a#0 a#1 d#0 g#0 c#0",
		"title, metadata.year":           "g#0 d#0 a#0 a#1 b#0 c#0",
		"id desc":                        "g#0 d#0 c#0 b#0 a#0 a#1",
		"create_time":                    "d#0 g#0 c#0 b#0 a#0 a#1",
		"update_time desc":               "a#0 a#1 d#0 c#0 b#0 g#0",
		"metadata.nothing":               "a#0 a#1 b#0 c#0 d#0 g#0",
		"metadata.nothing desc, id desc": "g#0 d#0 c#0 b#0 a#0 a#1",
		"score desc":                     "a#0 a#1 d#0 g#0 b#0 c#0",
		"score":                          "c#0 b#0 a#1 d#0 g#0 a#0",
	} {
		keys, err := order.Parse(by)
		if err != nil {
			t.Fatal(err)
		}
		q := query("word", 10)
		q.Vector, q.Order = nil, keys
		legs := f.search(q)
		if got := strings.Join(chunkIDs(legs.Lexical), " "); got != want {
			t.Errorf("by %s: got %q, want %q", by, got, want)
		}
		for _, h := range legs.Lexical {
			if h.Score <= 0 {
				t.Errorf("by %s: %s has no score", by, h.ChunkID)
			}
		}
		q.Limit = 3
		if got := strings.Join(chunkIDs(f.search(q).Lexical), " "); !strings.HasPrefix(want, got) || len(strings.Fields(got)) != 3 {
			t.Errorf("by %s, at most three: got %q", by, got)
		}
	}
}
