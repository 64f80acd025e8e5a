package lexical

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/blevesearch/bleve/v2/index/scorch"
	bleveindex "github.com/blevesearch/bleve_index_api"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/topk"
)

// The parameters of BM25, as Lucene and Elasticsearch have them.
const (
	k1 = 1.2
	b  = 0.75
)

// Stats is what BM25 must know of the whole collection.
type Stats struct {
	// Passages is how many there are.
	Passages int
	// Terms is how many terms they have together.
	Terms int64
}

// View is the index as it was at one moment. It is safe for concurrent use.
type View struct {
	snapshot *scorch.IndexSnapshot
	// rows remembers which row a passage of the snapshot was found to be, plus
	// one, so that it is looked up once.
	rows []atomic.Uint32
	sums sync.Pool
}

// View opens a view of what was written until now. Close it.
func (x *Index) View() (*View, error) {
	snapshot, err := x.reader()
	if err != nil {
		return nil, err
	}
	size := 0
	for _, s := range snapshot.Segments() {
		size += int(s.FullSize())
	}
	v := &View{snapshot: snapshot, rows: make([]atomic.Uint32, size)}
	v.sums.New = func() any { return &sums{score: make([]float64, size)} }
	return v, nil
}

// Close releases the view.
func (v *View) Close() error {
	if err := v.snapshot.Close(); err != nil {
		return fmt.Errorf("lexical index: close a view: %w", err)
	}
	return nil
}

// Rows tells what the rest of the index knows of a passage.
type Rows struct {
	// Row returns the row of a passage, and whether there is one.
	Row func(k Key) (uint32, bool)
	// Allowed reports whether the row may be found; nil allows all.
	Allowed func(row uint32) bool
	// ID returns the id that decides between equal scores.
	ID func(row uint32) string
}

// sums are the scores of one search. Only what was touched is cleared.
type sums struct {
	score   []float64
	touched []uint32
}

// Search returns the rows that have any of the terms, best first, at most
// limit. Each word of the query counts as often as the query has it; its
// variants count as one word that is as frequent as the most frequent of them
// (as in Lucene's SynonymQuery), so that a rare spelling does not outweigh a
// common one.
func (v *View) Search(ctx context.Context, terms []analysis.Term, stats Stats, rows Rows, limit int) ([]topk.Item, error) {
	if stats.Passages == 0 || limit <= 0 {
		return nil, nil
	}
	s, ok := v.sums.Get().(*sums)
	if !ok {
		return nil, fmt.Errorf("lexical index: the pool holds something else")
	}
	defer func() {
		for _, n := range s.touched {
			s.score[n] = 0
		}
		s.touched = s.touched[:0]
		v.sums.Put(s)
	}()
	for _, t := range terms {
		if err := v.add(ctx, s, t, stats); err != nil {
			return nil, err
		}
	}
	return v.best(s, rows, limit)
}

// add adds one word's part to the scores.
func (v *View) add(ctx context.Context, s *sums, t analysis.Term, stats Stats) error {
	readers := make([]bleveindex.TermFieldReader, 0, len(t.Variants))
	defer func() {
		for _, r := range readers {
			_ = r.Close() // hands memory back; it cannot fail
		}
	}()
	var found uint64
	for _, variant := range t.Variants {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := v.snapshot.TermFieldReader(ctx, []byte(variant), field, true, true, false)
		if err != nil {
			return fmt.Errorf("lexical index: read a term: %w", err)
		}
		readers = append(readers, r)
		found = max(found, r.Count())
	}
	n := min(float64(found), float64(stats.Passages))
	idf := math.Log(1 + (float64(stats.Passages)-n+0.5)/(n+0.5))
	average := max(1, float64(stats.Terms)/float64(stats.Passages))
	for _, r := range readers {
		if err := accumulate(s, r, float64(t.Count)*idf, average); err != nil {
			return err
		}
	}
	return nil
}

func accumulate(s *sums, r bleveindex.TermFieldReader, weight, average float64) error {
	var doc bleveindex.TermFieldDoc
	for {
		next, err := r.Next(&doc)
		if err != nil {
			return fmt.Errorf("lexical index: read postings: %w", err)
		}
		if next == nil {
			return nil
		}
		n := number(next.ID)
		if int(n) >= len(s.score) {
			return fmt.Errorf("lexical index: passage %d of %d", n, len(s.score))
		}
		// scorch keeps the length as 1/sqrt(length).
		length := float64(kept(uint32(math.Round(1 / (next.Norm * next.Norm)))))
		tf := float64(next.Freq)
		if s.score[n] == 0 {
			s.touched = append(s.touched, n)
		}
		s.score[n] += weight * tf / (tf + k1*(1-b+b*length/average))
	}
}

// best picks the rows that may be found. Whether one may is only asked of those
// that would be among the best, which is few of many.
func (v *View) best(s *sums, rows Rows, limit int) ([]topk.Item, error) {
	c := topk.New(limit, rows.ID)
	for _, n := range s.touched {
		if !c.Wants(s.score[n]) {
			continue
		}
		row, ok, err := v.row(n, rows)
		if err != nil {
			return nil, err
		}
		if ok && (rows.Allowed == nil || rows.Allowed(row)) {
			c.Offer(topk.Item{Key: row, Score: s.score[n]})
		}
	}
	return c.Best(), nil
}

func (v *View) row(n uint32, rows Rows) (uint32, bool, error) {
	if known := v.rows[n].Load(); known > 0 {
		return known - 1, true, nil
	}
	id, err := v.snapshot.ExternalID(bleveindex.NewIndexInternalID(nil, uint64(n)))
	if err != nil {
		return 0, false, fmt.Errorf("lexical index: read an id: %w", err)
	}
	k, ok := decode(id)
	if !ok {
		return 0, false, nil
	}
	row, ok := rows.Row(k)
	if ok {
		v.rows[n].Store(row + 1)
	}
	return row, ok, nil
}
