package elastic

import (
	"context"
	"fmt"
	"strconv"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
)

const (
	// maxNumbers is how many versions one query names: Elasticsearch takes 65,536.
	maxNumbers = 60_000
	// maxBuckets is how many values are read of a facet that is counted in parts.
	maxBuckets = 10_000
	// pageBuckets is how many versions are read at a time.
	pageBuckets = 10_000
)

// facets counts documents. Each is counted by its first passage, which every
// one has. Where passages decide whether a document counts, the versions are
// read first, and then counted by their numbers.
func (c *collection) facets(ctx context.Context, v *view, q index.Query, allowed object) ([]index.Counts, error) {
	first := object{"term": object{fieldChunk: 0}}
	if len(q.Vector) > 0 && len(q.Require)+len(q.Exclude) == 0 {
		return c.count(ctx, v, q.Facets, [][]object{{first, allowed}})
	}
	asked := object{"bool": object{"filter": []object{allowed}}}
	if len(q.Vector) == 0 {
		asked = object{"bool": object{"filter": []object{allowed, anyWord(q)}}}
	}
	numbers, err := c.versions(ctx, v, asked)
	if err != nil {
		return nil, err
	}
	var parts [][]object
	for len(numbers) > 0 {
		n := min(len(numbers), maxNumbers)
		parts = append(parts, []object{first, {"terms": object{fieldNo: numbers[:n]}}})
		numbers = numbers[n:]
	}
	return c.count(ctx, v, q.Facets, parts)
}

// versions returns the numbers of the versions that have a passage which the
// query finds.
func (c *collection) versions(ctx context.Context, v *view, query object) ([]int64, error) {
	var out []int64
	var after object
	for {
		pages := object{"size": pageBuckets, "sources": []object{{"no": object{"terms": object{"field": fieldNo}}}}}
		if after != nil {
			pages["after"] = after
		}
		var answer struct {
			Aggregations struct {
				Versions struct {
					Buckets []struct {
						Key struct {
							No int64 `json:"no"`
						} `json:"key"`
					} `json:"buckets"`
				} `json:"versions"`
			} `json:"aggregations"`
		}
		if err := c.aggregate(ctx, v, query, object{"versions": object{"composite": pages}}, &answer); err != nil {
			return nil, err
		}
		buckets := answer.Aggregations.Versions.Buckets
		for _, b := range buckets {
			out = append(out, b.Key.No)
		}
		if len(buckets) < pageBuckets {
			return out, nil
		}
		after = object{"no": out[len(out)-1]}
	}
}

// aggregate asks for counts alone.
func (c *collection) aggregate(ctx context.Context, v *view, query, aggregations object, answer any) error {
	body, err := putJSON(object{"size": 0, "track_total_hits": false, "query": query, "aggs": aggregations})
	if err != nil {
		return err
	}
	whole := false
	req := esapi.SearchRequest{Index: []string{v.index}, Body: body, AllowPartialSearchResults: &whole}
	return c.x.client.do(ctx, "count", req, answer)
}

// counted is what Elasticsearch answers for a facet, or one of its ranges.
type counted struct {
	Count   int `json:"doc_count"`
	Other   int `json:"sum_other_doc_count"`
	Buckets []struct {
		Key   string `json:"key"`
		Count int    `json:"doc_count"`
	} `json:"buckets"`
}

// count adds up the facets over parts that have no document in common.
func (c *collection) count(ctx context.Context, v *view, facets []index.Facet, parts [][]object) ([]index.Counts, error) {
	out := make([]index.Counts, len(facets))
	values := make([]map[filter.Value]int, len(facets))
	for i, f := range facets {
		out[i].Ranges, values[i] = make([]int, len(f.Ranges)), make(map[filter.Value]int)
	}
	for _, part := range parts {
		var answer struct {
			Aggregations map[string]counted `json:"aggregations"`
		}
		query := object{"bool": object{"filter": part}}
		if err := c.aggregate(ctx, v, query, counting(facets, len(parts) > 1), &answer); err != nil {
			return nil, err
		}
		for i, f := range facets {
			found := answer.Aggregations[valuesOfFacet(i)]
			if found.Other > 0 && len(parts) > 1 {
				return nil, apierr.Invalid(fmt.Sprintf("facets[%d].field", i),
					"has more than %d values over more than %d documents: ask over fewer documents", maxBuckets, maxNumbers)
			}
			for _, b := range found.Buckets {
				value, ok := valueOf(b.Key)
				if !ok {
					return nil, fmt.Errorf("elasticsearch index: count: a value is none of ours")
				}
				values[i][value] += b.Count
			}
			out[i].Other += found.Other
			out[i].Missing += answer.Aggregations[missingOfFacet(i)].Count
			for j := range f.Ranges {
				out[i].Ranges[j] += answer.Aggregations[rangeOfFacet(i, j)].Count
			}
		}
	}
	for i, f := range facets {
		all := index.Tally(f, values[i], out[i].Missing)
		out[i].Values, out[i].Other = all.Values, out[i].Other+all.Other
	}
	return out, nil
}

func valuesOfFacet(i int) string   { return "v" + strconv.Itoa(i) }
func missingOfFacet(i int) string  { return "m" + strconv.Itoa(i) }
func rangeOfFacet(i, j int) string { return "r" + strconv.Itoa(i) + "." + strconv.Itoa(j) }

// counting are the facets as aggregations; all asks for all values.
func counting(facets []index.Facet, all bool) object {
	out := object{}
	for i, f := range facets {
		size := max(1, f.Limit) // which may be none, if only ranges are wanted
		if all {
			size = maxBuckets
		}
		out[valuesOfFacet(i)] = object{"terms": object{
			"field": valueField(f.Path), "size": size, "order": []object{{"_count": "desc"}, {"_key": "asc"}},
		}}
		out[missingOfFacet(i)] = object{"filter": object{"bool": object{"must_not": []object{is(about(present, f.Path))}}}}
		for j, r := range f.Ranges {
			out[rangeOfFacet(i, j)] = object{"filter": inRange(f.Path, r)}
		}
	}
	return out
}

// inRange asks for documents with a value in the range, alone or in a list.
func inRange(path string, r index.Range) object {
	options := make([]object, 0, 2)
	for _, what := range []string{scalar, listed} {
		mark := kindMark(r.Kind())
		bounds := object{"gte": about(what, path) + string(mark), "lt": about(what, path) + string(mark+1)}
		if r.From != nil {
			bounds["gte"] = word(what, path, *r.From)
		}
		if r.To != nil {
			bounds["lt"] = word(what, path, *r.To)
		}
		options = append(options, object{"range": object{fieldMetadata: bounds}})
	}
	return anyOf(options...)
}
