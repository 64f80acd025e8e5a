package elastic

import (
	"github.com/poterne/poterne/services/search/internal/analysis"
)

// having asks for a phrase: its words one after another, each in any of its
// variants.
func having(p analysis.Phrase) object {
	if len(p) == 0 {
		return object{"match_none": object{}}
	}
	words := make([]object, len(p))
	for i, variants := range p {
		if len(p) == 1 {
			return object{"terms": object{fieldTerms: variants}}
		}
		options := make([]object, len(variants))
		for j, v := range variants {
			options[j] = object{"span_term": object{fieldTerms: v}}
		}
		words[i] = options[0]
		if len(options) > 1 {
			words[i] = object{"span_or": object{"clauses": options}}
		}
	}
	return object{"span_near": object{"clauses": words, "slop": 0, "in_order": true}}
}

func havingAll(phrases []analysis.Phrase) []object {
	out := make([]object, len(phrases))
	for i, p := range phrases {
		out[i] = having(p)
	}
	return out
}
