package elastic

import (
	"github.com/poterne/poterne/services/search/internal/index"
)

// The fields of a passage.
const (
	fieldNo         = "no"
	fieldChunk      = "chunk"
	fieldID         = "cid"
	fieldFrom       = "from"
	fieldPrincipals = "principals"
	fieldMetadata   = "metadata"
	fieldValues     = "values"
	fieldPoints     = "points"
	fieldDocument   = "document"
	fieldTitle      = "title"
	fieldCreated    = "created"
	fieldUpdated    = "updated"
	fieldTerms      = "terms"
	fieldVector     = "vector"
	fieldMeta       = "meta"
)

// object is a piece of JSON.
type object = map[string]any

// format is of what an index holds: raise it when passages are written
// otherwise, so that old indexes are made anew. 1: positions, values, places.
// Another analysis has an index of another name.
const format = 1

// settings are an index's settings and fields. One shard, because BM25 counts
// in each shard for itself. Refreshed by us alone, because only then do
// searches change. Only meta is kept as it was sent: the rest is in the truth.
func settings() object {
	keyword := object{"type": "keyword"}
	// What is ordered by and not looked for.
	ordered := func(kind string) object { return object{"type": kind, "index": false} }
	return object{
		"settings": object{
			"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1",
			"similarity": object{"default": object{"type": "BM25", "k1": k1, "b": b}},
		},
		"mappings": object{
			"dynamic": "strict",
			"_source": object{"includes": []string{fieldMeta}},
			"properties": object{
				fieldNo: object{"type": "long"}, fieldChunk: object{"type": "integer"}, fieldFrom: object{"type": "long"},
				fieldID: keyword, fieldPrincipals: keyword, fieldMetadata: keyword,
				fieldTerms:    object{"type": "text", "analyzer": "whitespace", "index_options": "positions"},
				fieldDocument: ordered("keyword"), fieldTitle: ordered("keyword"),
				fieldCreated: ordered("long"), fieldUpdated: ordered("long"), fieldValues: ordered("flattened"),
				fieldPoints: object{"type": "object", "dynamic": false},
				fieldMeta:   object{"type": "object", "enabled": false},
			},
		},
	}
}

// vectors is the field of vectors: compared one by one, or by way of a graph
// over their bytes when there are many.
func vectors(width int, many bool, m index.Metric) object {
	kind := "flat"
	if many {
		kind = "int8_hnsw"
	}
	return object{"properties": object{fieldVector: object{
		"type": "dense_vector", "dims": width, "index": true, "similarity": similarity(m),
		"index_options": object{"type": kind},
	}}}
}

// similarity is what Elasticsearch calls a metric.
func similarity(m index.Metric) string {
	switch m {
	case index.Dot:
		return "max_inner_product"
	case index.L2:
		return "l2_norm"
	case index.Cosine:
		fallthrough
	default:
		return "cosine"
	}
}

// measured returns the metric's score for Elasticsearch's, which is never
// negative.
func measured(m index.Metric) func(score float64) float64 {
	switch m {
	case index.Dot:
		return func(s float64) float64 {
			if s >= 1 {
				return s - 1
			}
			return 1 - 1/s
		}
	case index.L2:
		return func(s float64) float64 { return 1 - 1/s }
	case index.Cosine:
		fallthrough
	default:
		return func(s float64) float64 { return 2*s - 1 }
	}
}
