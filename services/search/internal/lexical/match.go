package lexical

import (
	"context"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

// Match returns the rows whose passages have the phrase: its words one after
// another, each in any of its variants. Whether a row may be found is not asked
// here. A phrase without words matches nothing.
func (v *View) Match(ctx context.Context, p analysis.Phrase, rows Rows) (*roaring.Bitmap, error) {
	if len(p) == 0 {
		return roaring.New(), nil
	}
	var having *roaring.Bitmap
	for _, variants := range p {
		word, err := v.having(ctx, variants)
		if err != nil {
			return nil, err
		}
		if having == nil {
			having = word
		} else {
			having.And(word)
		}
		if having.IsEmpty() {
			return having, nil
		}
	}
	if len(p) > 1 {
		var err error
		if having, err = v.inOrder(ctx, p, having); err != nil {
			return nil, err
		}
	}
	return v.rowsOf(having, rows)
}

// MatchAny returns the rows whose passages have any of the terms.
func (v *View) MatchAny(ctx context.Context, terms []analysis.Term, rows Rows) (*roaring.Bitmap, error) {
	having := roaring.New()
	for _, t := range terms {
		word, err := v.having(ctx, t.Variants)
		if err != nil {
			return nil, err
		}
		having.Or(word)
	}
	return v.rowsOf(having, rows)
}

// having returns the snapshot's numbers of the passages that have any of the
// variants.
func (v *View) having(ctx context.Context, variants []string) (*roaring.Bitmap, error) {
	out := roaring.New()
	for _, variant := range variants {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := v.postings(ctx, variant, false, func(n uint32, _ *bleveindex.TermFieldDoc) { out.Add(n) })
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// postings calls each for every passage that has the term.
func (v *View) postings(ctx context.Context, term string, positions bool, each func(n uint32, doc *bleveindex.TermFieldDoc)) error {
	r, err := v.snapshot.TermFieldReader(ctx, []byte(term), field, false, false, positions)
	if err != nil {
		return fmt.Errorf("lexical index: read a term: %w", err)
	}
	defer func() { _ = r.Close() }() // hands memory back; it cannot fail
	var doc bleveindex.TermFieldDoc
	for {
		next, err := r.Next(&doc)
		if err != nil {
			return fmt.Errorf("lexical index: read postings: %w", err)
		}
		if next == nil {
			return nil
		}
		each(number(next.ID), next)
	}
}

// inOrder returns those of the passages that have the phrase's words one after
// another. What is carried from word to word is where phrases may have begun.
func (v *View) inOrder(ctx context.Context, p analysis.Phrase, among *roaring.Bitmap) (*roaring.Bitmap, error) {
	var begun map[uint32][]uint64
	for i, variants := range p {
		next := make(map[uint32][]uint64)
		for _, variant := range variants {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			err := v.postings(ctx, variant, true, func(n uint32, doc *bleveindex.TermFieldDoc) {
				if !among.Contains(n) {
					return
				}
				for _, at := range doc.Vectors {
					// Positions begin at 1, so this is none for a word too near the front.
					if at.Pos <= uint64(i) {
						continue
					}
					if begin := at.Pos - uint64(i); i == 0 || slices.Contains(begun[n], begin) {
						next[n] = append(next[n], begin)
					}
				}
			})
			if err != nil {
				return nil, err
			}
		}
		begun = next
	}
	out := roaring.New()
	for n := range begun {
		out.Add(n)
	}
	return out, nil
}

// rowsOf returns the rows of passages by scorch's numbers.
func (v *View) rowsOf(having *roaring.Bitmap, rows Rows) (*roaring.Bitmap, error) {
	out := roaring.New()
	for i := range v.segments {
		p := &v.segments[i]
		end := p.first + uint32(len(p.lengths))
		it := having.Iterator()
		it.AdvanceIfNeeded(p.first)
		if !it.HasNext() || it.PeekNext() >= end {
			continue
		}
		numbers, err := p.number(rows)
		if err != nil {
			return nil, err
		}
		for it.HasNext() && it.PeekNext() < end {
			if row := numbers[it.Next()-p.first]; row > 0 {
				out.Add(row - 1)
			}
		}
	}
	return out, nil
}
