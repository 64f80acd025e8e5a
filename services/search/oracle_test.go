package search_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/chunk"
)

// record is what the oracle knows of a document.
type record struct {
	id, title, text string
	// readers is nil for everybody in the tenant.
	readers []string
	team    string  // "" for none
	n       float64 // below 0 for none
	tags    []string
}

// passages are cut as the service cuts them.
func (r *record) passages() []string {
	o := chunk.DefaultOptions()
	o.MaxWords, o.OverlapWords = oracleMaxWords, 0
	var out []string
	for _, s := range chunk.Split(r.text, o) {
		out = append(out, r.text[s.Start:s.End])
	}
	return out
}

const oracleMaxWords = 20

func (r *record) document() *searchv1.Document {
	return &searchv1.Document{Id: r.id, Title: r.title, Text: r.text}
}

func (r *record) metadata() map[string]any {
	m := make(map[string]any)
	if r.team != "" {
		m["team"] = r.team
	}
	if r.n >= 0 {
		m["n"] = r.n
	}
	if r.tags != nil {
		tags := make([]any, len(r.tags))
		for i, t := range r.tags {
			tags[i] = t
		}
		m["tags"] = tags
	}
	return m
}

func (r *record) readable(tenant string, principals []string) bool {
	if r.readers == nil {
		return true
	}
	return slices.ContainsFunc(r.readers, func(p string) bool {
		return p == "public" || p == "tenant:"+tenant || slices.Contains(principals, p)
	})
}

// question is a search in the oracle's terms.
type question struct {
	words   []string
	phrase  []string
	require string
	exclude string
	filter  string
	passes  func(*record) bool
}

func (q question) String() string {
	out := strings.Join(q.words, " ")
	if len(q.phrase) > 0 {
		out += ` "` + strings.Join(q.phrase, " ") + `"`
	}
	if q.require != "" {
		out += " +" + q.require
	}
	if q.exclude != "" {
		out += " -" + q.exclude
	}
	return out
}

// scored are the words that bring a lexical hit.
func (q question) scored() []string {
	out := append(slices.Clone(q.words), q.phrase...)
	if q.require != "" {
		out = append(out, q.require)
	}
	return out
}

// allows reports whether a passage satisfies the conditions; words are those of
// the title and the passage.
func (q question) allows(words []string) bool {
	has := func(phrase ...string) bool {
		for i := range words {
			if i+len(phrase) <= len(words) && slices.Equal(words[i:i+len(phrase)], phrase) {
				return true
			}
		}
		return false
	}
	return (len(q.phrase) == 0 || has(q.phrase...)) && (q.require == "" || has(q.require)) && (q.exclude == "" || !has(q.exclude))
}

// match is one passage that the oracle finds.
type match struct {
	id     string
	record *record
	text   string
	any    bool // it has any of the scored words
}

// expected returns the passages that a caller must find, in any order.
func expected(readable []*record, q question, lexical bool) []match {
	var out []match
	for _, r := range readable {
		if q.passes != nil && !q.passes(r) {
			continue
		}
		for i, text := range r.passages() {
			words := strings.Fields(r.title + " " + text)
			hasAny := slices.ContainsFunc(q.scored(), func(w string) bool { return slices.Contains(words, w) })
			if q.allows(words) && (hasAny || !lexical) {
				out = append(out, match{fmt.Sprintf("%s#%d", r.id, i), r, text, hasAny})
			}
		}
	}
	return out
}

// byNThenTitle is `metadata.n desc, title`.
func byNThenTitle(a, b match) int {
	missing := func(a, b bool) int {
		switch {
		case a == b:
			return 0
		case a:
			return 1
		default:
			return -1
		}
	}
	return cmp.Or(
		missing(a.record.n < 0, b.record.n < 0), cmp.Compare(b.record.n, a.record.n),
		missing(a.record.title == "", b.record.title == ""), strings.Compare(a.record.title, b.record.title),
		strings.Compare(a.id, b.id))
}

// facetLine is a facet as a line.
func facetLine(counts map[string]int, missing int) string {
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	var out strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&out, "%s=%d ", k, counts[k])
	}
	fmt.Fprintf(&out, "missing=%d", missing)
	return out.String()
}

// expectedFacets are team, n and tags, and how many have an n from 2 on.
func expectedFacets(passages []match) string {
	docs := make(map[*record]bool)
	for _, p := range passages {
		docs[p.record] = true
	}
	teams, numbers, tags := make(map[string]int), make(map[string]int), make(map[string]int)
	var noTeam, noN, noTags, big int
	for r := range docs {
		if r.team == "" {
			noTeam++
		} else {
			teams[r.team]++
		}
		switch {
		case r.n < 0:
			noN++
		default:
			numbers[fmt.Sprint(r.n)]++
			if r.n >= 2 {
				big++
			}
		}
		if r.tags == nil {
			noTags++
		}
		for _, t := range r.tags {
			tags[t]++
		}
	}
	return fmt.Sprintf("%s / %s [%d] / %s", facetLine(teams, noTeam), facetLine(numbers, noN), big, facetLine(tags, noTags))
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// vocabulary returns words of seven letters that stemming leaves alone and of
// which no two can be mistaken for each other.
func vocabulary(rng *rand.Rand, n int) []string {
	const consonants, vowels = "bdfgklmnprtvz", "aiou"
	var out []string
	for len(out) < n {
		var w strings.Builder
		for i := range 7 {
			from := consonants
			if i%2 == 1 {
				from = vowels
			}
			w.WriteByte(from[rng.IntN(len(from))])
		}
		word := w.String()[:6] + "k"
		if !slices.ContainsFunc(out, func(o string) bool { return edits(o, word) < 4 }) {
			out = append(out, word)
		}
	}
	return out
}
