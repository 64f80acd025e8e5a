package cli

import "github.com/spf13/pflag"

// searchQuestion is what a search asks besides its words.
type searchQuestion struct {
	facets   []string
	orderBy  string
	language string
	suggest  bool
	plain    bool
}

func (q *searchQuestion) bind(f *pflag.FlagSet) {
	f.StringArrayVar(&q.facets, "facet", nil, "count the documents by the values of this metadata field (may be repeated)")
	f.StringVar(&q.orderBy, "order-by", "", `instead of by relevance, such as "metadata.year desc, title"`)
	f.StringVar(&q.language, "language", "", "the language of the query, en or fr; empty to tell it from its words")
	f.BoolVar(&q.suggest, "suggest", false, "correct words that no document has")
	f.BoolVar(&q.plain, "plain", false, "take quotes, + and - as text")
}

// into adds to the body of a search what was given.
func (q *searchQuestion) into(body map[string]any) {
	for _, field := range q.facets {
		list, _ := body["facets"].([]any)
		body["facets"] = append(list, map[string]any{"field": field})
	}
	for name, value := range map[string]string{"order_by": q.orderBy, "language": q.language} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range map[string]bool{"suggest": q.suggest, "plain": q.plain} {
		if value {
			body[name] = true
		}
	}
}

// facetRows are an answer's facets, a row for each value.
func facetRows(out map[string]any) (rows []any) {
	facets, _ := out["facets"].([]any)
	for _, f := range facets {
		values, _ := lookup(f, "values").([]any)
		for _, v := range values {
			rows = append(rows, map[string]any{"field": lookup(f, "field"), "value": lookup(v, "value"), "count": lookup(v, "count")})
		}
	}
	return rows
}
