package store

import (
	"context"
	"errors"
	"fmt"
)

// Progress is how far the building of embedding generations is, over all
// collections.
type Progress struct {
	// Generations counts them by state.
	Generations map[State]int
	// Done of Total documents those have that are being built.
	Done, Total int
	// Failed documents could not be embedded, also those of failed ones.
	Failed int
	// Rate is how many documents a second are embedded, of late.
	Rate float64
}

// Progress returns how far the building is. It counts what has still to be
// embedded.
func (s *Store) Progress(ctx context.Context) (out Progress, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `
		SELECT g.state, count(*),
			sum(CASE g.state WHEN 'building' THEN c.document_count ELSE 0 END),
			sum(CASE g.state WHEN 'building' THEN (SELECT count(*) FROM search_documents d WHERE d.collection = c.uid AND d.no > g.through) ELSE 0 END),
			sum((SELECT count(*) FROM search_embedding_failures f WHERE f.collection = c.uid AND f.embedding_generation = g.number)),
			sum(CASE g.state WHEN 'building' THEN g.rate ELSE 0 END)
		FROM search_collections c JOIN search_embedding_generations g ON g.collection = c.uid GROUP BY g.state`)
	if err != nil {
		return Progress{}, fmt.Errorf("search store: read the progress of embedding generations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out.Generations = make(map[State]int)
	for rows.Next() {
		var state State
		var n, total, left, failed int
		var rate float64
		if err := rows.Scan(&state, &n, &total, &left, &failed, &rate); err != nil {
			return Progress{}, fmt.Errorf("search store: read the progress of embedding generations: %w", err)
		}
		out.Generations[state] = n
		out.Failed += failed
		if state == Building {
			out.Total, out.Done, out.Rate = total, total-left-failed, rate
		}
	}
	return out, rows.Err()
}
