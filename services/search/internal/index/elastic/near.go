package elastic

import (
	"context"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

// maxNear is the most terms near a question that are looked at.
const maxNear = 200

// Near implements index.Collection. Elasticsearch knows the terms near one
// whoever may read them; they are told only with the passages that the caller
// may read.
func (c *collection) Near(ctx context.Context, principals []string, f filter.Node, questions []index.Near) ([][]index.Neighbour, error) {
	v, err := c.acquire()
	if err != nil {
		return nil, err
	}
	defer c.release(v)
	out := make([][]index.Neighbour, len(questions))
	if len(principals) == 0 || len(questions) == 0 || v.meta.Passages == 0 {
		return out, nil
	}
	terms, err := c.terms(ctx, v, questions)
	if err != nil {
		return nil, err
	}
	name := func(i, j int) string { return strconv.Itoa(i) + "." + strconv.Itoa(j) }
	counts := object{}
	for i := range terms {
		for j, term := range terms[i] {
			counts[name(i, j)] = object{"filter": object{"term": object{fieldTerms: term}}}
		}
	}
	allowed, err := v.allowed(index.Query{Principals: principals, Filter: f})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Aggregations map[string]counted `json:"aggregations"`
	}
	if err := c.aggregate(ctx, v, allowed, counts, &answer); err != nil {
		return nil, err
	}
	for i := range terms {
		for j, term := range terms[i] {
			if n := answer.Aggregations[name(i, j)].Count; n > 0 {
				out[i] = append(out[i], index.Neighbour{Term: term, Passages: n})
			}
		}
	}
	return out, nil
}

// terms returns each question's own term and those near it.
func (c *collection) terms(ctx context.Context, v *view, questions []index.Near) ([][]string, error) {
	out := make([][]string, len(questions))
	asked := object{}
	for i, q := range questions {
		out[i] = []string{q.Term}
		if q.Edits > 0 {
			// How frequent the term is itself is nobody's business, so it bounds nothing.
			asked[strconv.Itoa(i)] = object{"text": q.Term, "term": object{
				"field": fieldTerms, "analyzer": "whitespace", "suggest_mode": "always", "size": maxNear, "shard_size": maxNear,
				"max_edits": min(q.Edits, index.MaxEdits), "prefix_length": 0, "min_word_length": 1, "accuracy": 0,
				"max_term_freq": 1 << 30, "max_inspections": 50,
			}}
		}
	}
	if len(asked) == 0 {
		return out, nil
	}
	body, err := putJSON(object{"size": 0, "track_total_hits": false, "suggest": asked})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Suggest map[string][]struct {
			Options []struct {
				Text string `json:"text"`
			} `json:"options"`
		} `json:"suggest"`
	}
	whole := false
	req := esapi.SearchRequest{Index: []string{v.index}, Body: body, AllowPartialSearchResults: &whole}
	if err := c.x.client.do(ctx, "find terms", req, &answer); err != nil {
		return nil, err
	}
	for i := range questions {
		for _, entry := range answer.Suggest[strconv.Itoa(i)] {
			for _, o := range entry.Options {
				out[i] = append(out[i], o.Text)
			}
		}
	}
	return out, nil
}
