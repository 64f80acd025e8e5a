package lexical

import (
	"context"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
)

// Near returns the terms within so many edits of term, at most two, that
// passages have, whoever may read them; 0 edits ask for the term itself.
func (v *View) Near(term string, edits int) (terms []string, err error) {
	if edits == 0 {
		return []string{term}, nil
	}
	dict, err := v.snapshot.FieldDictFuzzy(field, term, edits, "")
	if err != nil {
		return nil, fmt.Errorf("lexical index: read terms: %w", err)
	}
	defer func() { _ = dict.Close() }() // hands memory back; it cannot fail
	for {
		next, err := dict.Next()
		if err != nil {
			return nil, fmt.Errorf("lexical index: read terms: %w", err)
		}
		if next == nil {
			return terms, nil
		}
		terms = append(terms, next.Term)
	}
}

// Having returns the rows that have the term.
func (v *View) Having(ctx context.Context, term string, rows Rows) (*roaring.Bitmap, error) {
	having, err := v.having(ctx, []string{term})
	if err != nil {
		return nil, err
	}
	return v.rowsOf(having, rows)
}
