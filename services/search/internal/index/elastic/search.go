package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/index"
)

// The parameters of BM25. Elasticsearch multiplies by k1+1, as Lucene did once.
const (
	k1    = 1.2
	b     = 0.75
	times = k1 + 1
)

const (
	// maxHits is the most that Elasticsearch gives of a search.
	maxHits = 10_000
	// maxWords is the most words of a query that are looked for.
	maxWords = 1000
)

// Search implements index.Collection: one call for both legs.
func (c *collection) Search(ctx context.Context, q index.Query) (index.Legs, error) {
	v, err := c.acquire()
	if err != nil {
		return index.Legs{}, err
	}
	defer c.release(v)
	legs := index.Legs{Sequence: v.meta.Through, Facets: make([]index.Counts, len(q.Facets))}
	for i, f := range q.Facets {
		legs.Facets[i].Ranges = make([]int, len(f.Ranges))
	}
	if n := len(q.Vector); n > 0 && v.meta.Width > 0 && n != v.meta.Width {
		return index.Legs{}, fmt.Errorf("elasticsearch index: the query has %d dimensions, the collection %d", n, v.meta.Width)
	}
	if len(q.Principals) == 0 || q.Limit <= 0 || v.meta.Passages == 0 {
		return legs, nil
	}
	allowed, err := v.allowed(q)
	if err != nil {
		return index.Legs{}, err
	}
	var m searches
	if len(q.Terms) > 0 {
		m.add(lexicalLeg(q, allowed), &legs.Lexical, &legs.LexicalTook, func(s float64) float64 { return s / times })
	}
	if len(q.Vector) > 0 && v.meta.Width > 0 && !c.unplaceable(q.Vector) {
		m.add(v.vectorLeg(q, allowed), &legs.Vector, &legs.VectorTook, measured(c.metric))
	}
	if err := m.run(ctx, c.x.client, v.index); err != nil {
		if isStatus(err, http.StatusNotFound) {
			c.lost(v)
		}
		return index.Legs{}, err
	}
	if len(q.Facets) > 0 && len(q.Terms)+len(q.Vector) > 0 {
		if legs.Facets, err = c.facets(ctx, v, q, allowed); err != nil {
			return index.Legs{}, err
		}
	}
	return legs, nil
}

// allowed is what both legs ask besides: what is there at the view's
// generation, what the caller may read, what passes the filter, and what has
// the required phrases and none of the excluded ones.
func (v *view) allowed(q index.Query) (object, error) {
	must := []object{
		{"range": object{fieldFrom: object{"lte": v.meta.Through}}},
		{"terms": object{fieldPrincipals: q.Principals}},
	}
	if q.Filter != nil {
		f, err := translate(q.Filter, 0)
		if err != nil {
			return nil, err
		}
		must = append(must, f)
	}
	out := object{"filter": append(must, havingAll(q.Require)...)}
	not := havingAll(q.Exclude)
	if len(v.meta.Hidden) > 0 {
		not = append(not, object{"terms": object{fieldNo: v.meta.Hidden}})
	}
	if len(not) > 0 {
		out["must_not"] = not
	}
	return object{"bool": out}, nil
}

func lexicalLeg(q index.Query, allowed object) object {
	leg := object{"size": min(q.Limit, maxHits), "query": object{"bool": object{
		"should": wantedWords(q), "minimum_should_match": 1, "filter": []object{allowed},
	}}}
	if len(q.Order) > 0 {
		leg["sort"], leg["track_scores"] = sorting(q.Order), true
	}
	return leg
}

func wantedWords(q index.Query) []object {
	terms := q.Terms[:min(len(q.Terms), maxWords)]
	out := make([]object, len(terms))
	for i, t := range terms {
		out[i] = wanted(t)
	}
	return out
}

// anyWord asks for what has any of the query's words.
func anyWord(q index.Query) object { return anyOf(wantedWords(q)...) }

// wanted asks for one word. Its variants are blended: they count as one word
// that is as frequent as the most frequent of them.
func wanted(t analysis.Term) object {
	if len(t.Variants) == 1 {
		return object{"term": object{fieldTerms: object{"value": t.Variants[0], "boost": t.Count}}}
	}
	variants := make([]string, len(t.Variants))
	for i, s := range t.Variants {
		variants[i] = quoted(s)
	}
	return object{"regexp": object{fieldTerms: object{
		"value": strings.Join(variants, "|"), "flags": "NONE", "boost": t.Count,
		"rewrite": "top_terms_blended_freqs_" + strconv.Itoa(len(variants)),
	}}}
}

// quoted escapes what is special in Lucene's regular expressions.
func quoted(s string) string {
	var out strings.Builder
	for _, r := range s {
		if !syntax.IsWordChar(r) && r < 0x80 {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}

// vectorLeg asks for more than the limit, so that of equal ones those with the
// first ids are among them.
func (v *view) vectorLeg(q index.Query, allowed object) object {
	size := min(q.Limit, maxHits)
	k := min(max(10*size, 200), maxHits)
	knn := object{
		"field": fieldVector, "query_vector": q.Vector, "k": k, "num_candidates": k, "filter": []object{allowed},
	}
	if v.meta.Many {
		knn["rescore_vector"] = object{"oversample": 1.0}
	}
	return object{"size": size, "query": object{"knn": knn}}
}

// found is what a search answers.
type found struct {
	Error *failure `json:"error"`
	Took  int64    `json:"took"` // ms
	Hits  struct {
		Hits []struct {
			ID    string            `json:"_id"`
			Score float64           `json:"_score"`
			Sort  []json.RawMessage `json:"sort"`
		} `json:"hits"`
	} `json:"hits"`
	Status int `json:"status"`
}

// searches are made together.
type searches struct {
	bodies []object
	into   []*[]index.Hit
	took   []*time.Duration
	score  []func(float64) float64
}

func (m *searches) add(body object, into *[]index.Hit, took *time.Duration, score func(float64) float64) {
	body["_source"], body["track_total_hits"] = false, false
	if body["sort"] == nil {
		body["sort"] = []object{{"_score": "desc"}, {fieldID: "asc"}}
	}
	m.bodies, m.into = append(m.bodies, body), append(m.into, into)
	m.took, m.score = append(m.took, took), append(m.score, score)
}

func (m *searches) run(ctx context.Context, cl *client, idx string) error {
	if len(m.bodies) == 0 {
		return nil
	}
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines) // a line each
	for _, body := range m.bodies {
		for _, line := range []object{{"index": idx, "allow_partial_search_results": false}, body} {
			if err := enc.Encode(line); err != nil {
				return fmt.Errorf("elasticsearch index: write a query: %w", err)
			}
		}
	}
	var answer struct {
		Responses []found `json:"responses"`
	}
	req := esapi.MsearchRequest{Body: bytes.NewReader(lines.Bytes())}
	if err := cl.ask(ctx, "search", req, &answer); err != nil {
		return err
	}
	if len(answer.Responses) != len(m.bodies) {
		return fmt.Errorf("elasticsearch index: %d searches were sent, %d answered", len(m.bodies), len(answer.Responses))
	}
	for i, r := range answer.Responses {
		if r.Error != nil {
			return fmt.Errorf("elasticsearch index: search: %w", &statusError{status: r.Status, kind: r.Error.kind()})
		}
		hits, err := r.hits(m.score[i])
		if err != nil {
			return err
		}
		*m.into[i], *m.took[i] = hits, time.Duration(r.Took)*time.Millisecond
	}
	return nil
}

func (f *found) hits(score func(float64) float64) ([]index.Hit, error) {
	out := make([]index.Hit, len(f.Hits.Hits))
	for i, h := range f.Hits.Hits {
		no, chunk, ok := splitID(h.ID)
		var id string
		if !ok || len(h.Sort) == 0 || json.Unmarshal(h.Sort[len(h.Sort)-1], &id) != nil {
			return nil, fmt.Errorf("elasticsearch index: search: a hit is no passage of ours")
		}
		out[i] = index.Hit{No: no, Chunk: chunk, ChunkID: id, Score: score(h.Score)}
	}
	return out, nil
}

// splitID reads what passageID wrote.
func splitID(id string) (no int64, chunk int, ok bool) {
	a, b, ok := strings.Cut(id, ".")
	no, err := strconv.ParseInt(a, 10, 64)
	if err != nil || !ok {
		return 0, 0, false
	}
	chunk, err = strconv.Atoi(b)
	return no, chunk, err == nil
}
