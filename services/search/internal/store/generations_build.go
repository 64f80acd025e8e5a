package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Lease is the right to write into an embedding generation that does not serve.
// It is checked with every write, so that a holder that was thought dead writes
// nothing any more.
type Lease struct {
	// Collection is at the embedding generation.
	Collection Collection
	token      int64
}

// ErrLeaseLost says that another process builds the embedding generation by
// now, or that nobody is to.
var ErrLeaseLost = errors.New("search store: the lease on the embedding generation is lost")

// Lease gives the holder the embedding generation for so long, unless another
// has it: then the error is ErrLeaseLost.
func (s *Store) Lease(ctx context.Context, c Collection, holder string, ttl time.Duration) (Lease, error) {
	l := Lease{Collection: c}
	now := s.now()
	err := s.db.QueryRowContext(ctx, `
		UPDATE search_embedding_generations SET lease_holder = $3, lease_until = $4,
			lease_token = lease_token + CASE WHEN lease_holder = $3 THEN 0 ELSE 1 END
		WHERE collection = $1 AND number = $2 AND state IN ('building', 'ready', 'retired') AND (lease_holder = $3 OR lease_until < $5)
		RETURNING lease_token`, c.UID, c.EmbeddingGeneration, holder, now+ttl.Nanoseconds(), now).Scan(&l.token)
	if errors.Is(err, sql.ErrNoRows) {
		return Lease{}, ErrLeaseLost
	}
	if err != nil {
		return Lease{}, fmt.Errorf("search store: lease an embedding generation: %w", err)
	}
	return l, nil
}

// Release gives back all leases of the holder, which ends: nobody waits for its
// indexes any more.
func (s *Store) Release(ctx context.Context, holder string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM search_followers WHERE process = $1`, holder)
	if err != nil {
		return fmt.Errorf("search store: forget who follows: %w", err)
	}
	_, err = s.db.ExecContext(ctx, `UPDATE search_embedding_generations SET lease_holder = '', lease_until = 0, lease_token = lease_token + 1
		WHERE lease_holder = $1`, holder)
	if err != nil {
		return fmt.Errorf("search store: release leases: %w", err)
	}
	return nil
}

// Waiting notes why the building waits; "" that it goes on.
func (s *Store) Waiting(ctx context.Context, l Lease, reason string) error {
	return held(s.db.ExecContext(ctx, `UPDATE search_embedding_generations SET reason = $4
		WHERE collection = $1 AND number = $2 AND lease_token = $3`, l.Collection.UID, l.Collection.EmbeddingGeneration, l.token, reason))
}

func held(res sql.Result, err error) error {
	if err != nil {
		return fmt.Errorf("search store: write an embedding generation: %w", err)
	}
	switch n, err := res.RowsAffected(); {
	case err != nil:
		return fmt.Errorf("search store: write an embedding generation: %w", err)
	case n == 0:
		return ErrLeaseLost
	default:
		return nil
	}
}

// Unembedded is what an embedding generation does not have yet.
type Unembedded struct {
	// Documents come in the order of their numbers, with their texts. Those that
	// it has passages of already (see carryOver) have Kept.
	Documents []Pending
	// Through is the generation that is reached with them.
	Through int64
	// Last: there are no others.
	Last bool
}

// Pending is a document to be embedded.
type Pending struct {
	Document

	Kept bool
}

// Unembedded returns the next documents that c's embedding generation does not
// have: at most limit, and not many more than maxBytes of text.
func (s *Store) Unembedded(ctx context.Context, c Collection, limit, maxBytes int) (out Unembedded, err error) {
	err = s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		out = Unembedded{Last: true}
		var after int64
		if err := tx.QueryRowContext(ctx, `SELECT g.through, c.generation FROM search_embedding_generations g
			JOIN search_collections c ON c.uid = g.collection WHERE g.collection = $1 AND g.number = $2`,
			c.UID, c.EmbeddingGeneration).Scan(&after, &out.Through); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return ErrLeaseLost
			}
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT `+documentColumns+`, d.text, EXISTS (SELECT 1 FROM search_chunks c
				WHERE c.collection = d.collection AND c.embedding_generation = $2 AND c.no = d.no)
			FROM search_documents d WHERE d.collection = $1 AND d.no > $3 ORDER BY d.no LIMIT $4`,
			c.UID, c.EmbeddingGeneration, after, limit+1)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		size := 0
		for rows.Next() {
			if n := len(out.Documents); n == limit || n > 0 && size >= maxBytes {
				out.Through, out.Last = out.Documents[n-1].No, false
				break
			}
			var p Pending
			var text string
			if p.Document, err = scanDocument(rows, &text, &p.Kept); err != nil {
				return err
			}
			p.Text, size = text, size+len(text)
			out.Documents = append(out.Documents, p)
		}
		return rows.Err()
	})
	if err != nil {
		return Unembedded{}, told("read what is to be embedded", err)
	}
	return out, nil
}

// Embedded is what became of documents that were to be embedded.
type Embedded struct {
	// Digest and Dimensions tell which model made the vectors; Dimensions 0 when
	// there are none.
	Digest     string
	Dimensions int
	// Versions have their passages, by number.
	Versions []Version
	// Failed says of the others, by number, why they have none.
	Failed map[int64]string
	// Through is the generation that is reached with them.
	Through int64
	// Rate is how many documents a second were embedded.
	Rate float64
}

// Embed writes what was embedded of the lease's embedding generation. Versions
// that are gone by now are left out. ErrModelChanged when another version of the
// model made the vectors before.
func (s *Store) Embed(ctx context.Context, l Lease, e Embedded) error {
	c := l.Collection
	return told("write an embedding generation", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if _, err := lockCollection(ctx, tx, c); err != nil {
			return err
		}
		if err := held(tx.ExecContext(ctx, `UPDATE search_embedding_generations SET through = CASE WHEN through > $4 THEN through ELSE $4 END, rate = $5, reason = ''
			WHERE collection = $1 AND number = $2 AND lease_token = $3 AND state IN ('building', 'ready', 'retired')`,
			c.UID, c.EmbeddingGeneration, l.token, e.Through, e.Rate)); err != nil {
			return err
		}
		if e.Dimensions > 0 {
			err := held(tx.ExecContext(ctx, `UPDATE search_embedding_generations SET embedding_digest = $3, dimensions = $4
				WHERE collection = $1 AND number = $2 AND (dimensions = 0 OR dimensions = $4 AND embedding_digest = $3)`,
				c.UID, c.EmbeddingGeneration, e.Digest, e.Dimensions))
			if errors.Is(err, ErrLeaseLost) {
				return ErrModelChanged
			}
			if err != nil {
				return err
			}
		}
		again := newStatements(tx)
		defer func() { err = errors.Join(err, again.close()) }()
		for _, v := range e.Versions {
			there, err := isThere(ctx, tx, c, v.No)
			if err == nil && there {
				err = insertChunks(ctx, again, c, v.No, v.Chunks)
			}
			if err != nil {
				return err
			}
		}
		for no, reason := range e.Failed {
			there, err := isThere(ctx, tx, c, no)
			if err == nil && there {
				_, err = tx.ExecContext(ctx, `INSERT INTO search_embedding_failures (collection, embedding_generation, no, reason)
					VALUES ($1, $2, $3, $4)`, c.UID, c.EmbeddingGeneration, no, reason)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// isThere reports whether the version is there and c's embedding generation has
// nothing of it yet.
func isThere(ctx context.Context, tx *sql.Tx, c Collection, no int64) (there bool, err error) {
	err = tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM search_documents WHERE collection = $1 AND no = $2)
		AND NOT EXISTS (SELECT 1 FROM search_chunks WHERE collection = $1 AND embedding_generation = $3 AND no = $2)`,
		c.UID, no, c.EmbeddingGeneration).Scan(&there)
	return there, err
}

// Complete makes an embedding generation that was being built and has every
// document ready, or failed when it has not been able to embed all of them, or
// has more than maxChunks passages (0 does not bound them). It returns the state,
// which is Building still when documents were written meanwhile.
func (s *Store) Complete(ctx context.Context, l Lease, maxChunks int) (state State, err error) {
	c := l.Collection
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := lockCollection(ctx, tx, c); err != nil {
			return err
		}
		g, _, err := inTransaction(ctx, tx, c, c.EmbeddingGeneration)
		if err != nil {
			return err
		}
		state = g.State
		if state != Building {
			return nil
		}
		var missing bool
		var chunks int
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM search_documents WHERE collection = $1 AND no > $2),
			(SELECT count(*) FROM search_chunks WHERE collection = $1 AND embedding_generation = $3)`,
			c.UID, g.Through, g.Number).Scan(&missing, &chunks); err != nil || missing {
			return err
		}
		n, reason, err := failures(ctx, tx, c)
		if err != nil {
			return err
		}
		state = Ready
		if n > 0 {
			state = Failed
		}
		if maxChunks > 0 && chunks > maxChunks {
			state, reason = Failed, fmt.Sprintf("it has %d passages; at most %d are allowed", chunks, maxChunks)
		}
		return held(tx.ExecContext(ctx, `UPDATE search_embedding_generations SET state = $4, reason = $5, ready_time = $6
			WHERE collection = $1 AND number = $2 AND lease_token = $3`,
			c.UID, g.Number, l.token, string(state), reason, s.now()))
	})
	return state, told("complete an embedding generation", err)
}
