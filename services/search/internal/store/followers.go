package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Upcoming is an embedding generation that may serve soon, without what it takes
// time to read of it.
type Upcoming struct {
	// Collection has its UID, and is at the embedding generation; nothing else of it
	// is known.
	Collection Collection
	// Ready: it can be indexed.
	Ready bool
}

// Upcoming returns those of every tenant that are being built or ready.
func (s *Store) Upcoming(ctx context.Context) (out []Upcoming, err error) {
	rows, err := s.db.Reader().QueryContext(ctx,
		`SELECT collection, number, state FROM search_embedding_generations WHERE state IN ('building', 'ready')`)
	if err != nil {
		return nil, fmt.Errorf("search store: list embedding generations: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var c Collection
		var state State
		if err := rows.Scan(&c.UID, &c.EmbeddingGeneration, &state); err != nil {
			return nil, fmt.Errorf("search store: list embedding generations: %w", err)
		}
		out = append(out, Upcoming{Collection: c, Ready: state == Ready})
	}
	return out, rows.Err()
}

// Follows notes that a process is there which searches by an index of its own,
// and whether that has c's embedding generation. When that is neither being built
// nor ready it notes nothing.
func (s *Store) Follows(ctx context.Context, c Collection, process string, indexed bool) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO search_followers (collection, embedding_generation, process, seen, indexed)
		SELECT g.collection, g.number, $3, $4, $5 FROM search_embedding_generations g
			WHERE g.collection = $1 AND g.number = $2 AND g.state IN ('building', 'ready')
		ON CONFLICT (collection, embedding_generation, process) DO UPDATE SET seen = excluded.seen, indexed = excluded.indexed`,
		c.UID, c.EmbeddingGeneration, process, s.now(), flag(indexed))
	if err != nil {
		return fmt.Errorf("search store: note who follows: %w", err)
	}
	return nil
}

// Awaited returns how many other processes have been seen since then and have no
// index of c's embedding generation yet.
func (s *Store) Awaited(ctx context.Context, c Collection, process string, since time.Time) (n int, err error) {
	err = s.db.Reader().QueryRowContext(ctx, `SELECT count(*) FROM search_followers
		WHERE collection = $1 AND embedding_generation = $2 AND process <> $3 AND indexed = 0 AND seen >= $4`,
		c.UID, c.EmbeddingGeneration, process, since.UnixNano()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("search store: count who follows: %w", err)
	}
	return n, nil
}

// forgetFollowers drops what was noted of an embedding generation that is not
// waited for any more.
func forgetFollowers(ctx context.Context, tx *sql.Tx, uid string, number int) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM search_followers WHERE collection = $1 AND embedding_generation = $2`, uid, number)
	return err
}
