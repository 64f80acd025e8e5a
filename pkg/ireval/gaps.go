package ireval

import "slices"

// Gaps are what does not fit together in data, each list in the order of its
// file, or sorted where that has none. None of it keeps from measuring.
type Gaps struct {
	// Documents are judged and not there: they cannot be found, and count against
	// recall and nDCG.
	Documents []string
	// Queries have judgements and are not asked.
	Queries []string
	// Unjudged are queries without a relevant document.
	Unjudged []string
}

// Gaps returns what does not fit together.
func (d Data) Gaps() Gaps {
	documents := make(map[string]bool, len(d.Documents))
	for _, doc := range d.Documents {
		documents[doc.ID] = true
	}
	var out Gaps
	asked := make(map[string]bool, len(d.Queries))
	for _, q := range d.Queries {
		asked[q.ID] = true
		if d.Grades[q.ID].Relevant() == 0 {
			out.Unjudged = append(out.Unjudged, q.ID)
		}
	}
	for query, grades := range d.Grades {
		if !asked[query] {
			out.Queries = append(out.Queries, query)
			continue
		}
		for document := range grades {
			if !documents[document] {
				out.Documents = append(out.Documents, document)
			}
		}
	}
	slices.Sort(out.Queries)
	slices.Sort(out.Documents)
	out.Documents = slices.Compact(out.Documents)
	return out
}
