package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// lockCollection makes the transaction take its turn with all that write to the
// collection, and returns which embedding generation serves.
func lockCollection(ctx context.Context, tx *sql.Tx, c Collection) (serving int, err error) {
	err = tx.QueryRowContext(ctx,
		`UPDATE search_collections SET generation = generation WHERE uid = $1 RETURNING embedding_generation`, c.UID).Scan(&serving)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, noCollection(c.ID)
	}
	return serving, err
}

// CreateEmbeddingGeneration adds one that is to be built: of g EmbeddingModel,
// Chunking, Analyser and ServeWhenReady are used. Those that are retired or
// failed make room for it. FAILED_PRECONDITION while another is being built.
func (s *Store) CreateEmbeddingGeneration(ctx context.Context, c Collection, g EmbeddingGeneration) (EmbeddingGeneration, error) {
	g.State = Building
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := lockCollection(ctx, tx, c); err != nil {
			return err
		}
		var other int
		err := tx.QueryRowContext(ctx, `SELECT number FROM search_embedding_generations
			WHERE collection = $1 AND state IN ('building', 'ready')`, c.UID).Scan(&other)
		if err == nil {
			return apierr.New(apierr.FailedPrecondition, "embedding generation %d is not serving yet: have it serve, or delete it, first", other)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE search_embedding_generations SET state = 'removing', reason = '', lease_token = lease_token + 1
			WHERE collection = $1 AND state IN ('retired', 'failed')`, c.UID); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `UPDATE search_collections SET embedding_generations = embedding_generations + 1
			WHERE uid = $1 RETURNING embedding_generations`, c.UID).Scan(&g.Number); err != nil {
			return err
		}
		return insertEmbeddingGeneration(ctx, tx, c.UID, g, s.now())
	})
	if err != nil {
		return EmbeddingGeneration{}, told("create an embedding generation", err)
	}
	return s.EmbeddingGeneration(ctx, c, g.Number)
}

// told adds what was done to an error that callers are not told as it is.
func told(what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*apierr.Error](err); ok || errors.Is(err, ErrBehind) || errors.Is(err, ErrLeaseLost) {
		return err
	}
	return fmt.Errorf("search store: %s: %w", what, err)
}

// ErrBehind says that an embedding generation does not have every document yet.
var ErrBehind = errors.New("search store: the embedding generation does not have every document yet")

// Serve makes searches ask another embedding generation, which is ready or
// retired and has every document, and retires the one that served, as of the
// collection's next generation. ErrBehind when it has not every document;
// nothing happens when it serves already.
func (s *Store) Serve(ctx context.Context, c Collection, number int) error {
	return told("switch", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		next, err := advance(ctx, tx, c.UID, 1, s.now())
		if errors.Is(err, sql.ErrNoRows) {
			return noCollection(c.ID)
		}
		if err != nil {
			return err
		}
		g, serving, err := inTransaction(ctx, tx, c, number)
		if err != nil {
			return err
		}
		switch g.State {
		case Serving:
			return nil // a generation is passed over
		case Ready, Retired:
		case Building, Failed, Removing:
			fallthrough
		default:
			return apierr.New(apierr.FailedPrecondition, "embedding generation %d is %s", number, g.State)
		}
		var missing bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM search_documents WHERE collection = $1 AND no > $2)`,
			c.UID, g.Through).Scan(&missing); err != nil {
			return err
		}
		if missing {
			return ErrBehind
		}
		return s.exchange(ctx, tx, c, g, serving, next)
	}))
}

// inTransaction returns an embedding generation, and which one serves.
func inTransaction(ctx context.Context, tx *sql.Tx, c Collection, number int) (g EmbeddingGeneration, serving int, err error) {
	g, err = scanGeneration(tx.QueryRowContext(ctx, `SELECT `+generationColumns+`, c.embedding_generation
		FROM search_collections c JOIN search_embedding_generations g ON g.collection = c.uid WHERE c.uid = $1 AND g.number = $2`,
		c.UID, number), &serving)
	if errors.Is(err, sql.ErrNoRows) {
		err = noEmbeddingGeneration(number)
	}
	return g, serving, err
}

// exchange is the switch itself, in one transaction: whoever reads the
// collection afterwards embeds, searches and reads passages by the other one.
func (s *Store) exchange(ctx context.Context, tx *sql.Tx, c Collection, g EmbeddingGeneration, serving int, next int64) error {
	now := s.now()
	for _, stmt := range []struct {
		query string
		args  []any
	}{
		// What served has every version; those that are written from now on it follows.
		{`UPDATE search_embedding_generations SET state = 'retired', reason = '', through = $3, retire_time = $4
			WHERE collection = $1 AND number = $2`, []any{c.UID, serving, next, now}},
		{`UPDATE search_embedding_generations SET state = 'serving', reason = '', through = $3, serve_time = $4, retire_time = 0,
			lease_token = lease_token + 1, lease_until = 0
			WHERE collection = $1 AND number = $2`, []any{c.UID, g.Number, next, now}},
		{`UPDATE search_collections SET embedding_generation = $2, serving_since = $3,
			embedding_model = $4, embedding_digest = $5, dimensions = $6,
			chunk_count = (SELECT count(*) FROM search_chunks WHERE collection = $1 AND embedding_generation = $2)
			WHERE uid = $1`, []any{c.UID, g.Number, next, g.EmbeddingModel, g.EmbeddingDigest, g.Dimensions}},
		{`UPDATE search_documents SET chunk_count = (SELECT count(*) FROM search_chunks h
			WHERE h.collection = $1 AND h.embedding_generation = $2 AND h.no = search_documents.no)
			WHERE collection = $1 AND chunk_count <> (SELECT count(*) FROM search_chunks h
			WHERE h.collection = $1 AND h.embedding_generation = $2 AND h.no = search_documents.no)`, []any{c.UID, g.Number}},
	} {
		if _, err := tx.ExecContext(ctx, stmt.query, stmt.args...); err != nil {
			return err
		}
	}
	return forgetFollowers(ctx, tx, c.UID, g.Number)
}

// Previous returns the embedding generation that a rollback would have serve:
// the one that was retired last. FAILED_PRECONDITION when none is kept.
func (s *Store) Previous(ctx context.Context, c Collection) (EmbeddingGeneration, error) {
	all, err := s.EmbeddingGenerations(ctx, c)
	if err != nil {
		return EmbeddingGeneration{}, err
	}
	var last EmbeddingGeneration
	for _, g := range all {
		if g.State == Retired && g.RetireTime.After(last.RetireTime) {
			last = g
		}
	}
	if last.Number == 0 {
		return last, apierr.New(apierr.FailedPrecondition, "no embedding generation before is kept")
	}
	return last, nil
}

// Resume has the documents of a failed embedding generation tried again that
// could not be embedded, and it serve once it is ready. One that is being built
// or ready will serve then.
func (s *Store) Resume(ctx context.Context, c Collection, number int) error {
	return told("resume an embedding generation", s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := lockCollection(ctx, tx, c); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE search_embedding_generations SET serve_when_ready = 1
			WHERE collection = $1 AND number = $2 AND state IN ('building', 'ready', 'failed')`, c.UID, number); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE search_embedding_generations SET state = 'building', reason = '', lease_until = 0, lease_token = lease_token + 1,
				through = COALESCE((SELECT min(f.no) - 1 FROM search_embedding_failures f
					WHERE f.collection = $1 AND f.embedding_generation = $2), through)
			WHERE collection = $1 AND number = $2 AND state = 'failed'`, c.UID, number); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM search_embedding_failures WHERE collection = $1 AND embedding_generation = $2
			AND EXISTS (SELECT 1 FROM search_embedding_generations WHERE collection = $1 AND number = $2 AND through < no)`, c.UID, number)
		return err
	}))
}

// failuresNamed is how many documents a reason names.
const failuresNamed = 10

// failures returns how many documents an embedding generation could not embed,
// and a sentence about them.
func failures(ctx context.Context, tx *sql.Tx, c Collection) (n int, reason string, err error) {
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM search_embedding_failures WHERE collection = $1 AND embedding_generation = $2`,
		c.UID, c.EmbeddingGeneration).Scan(&n); err != nil || n == 0 {
		return 0, "", err
	}
	rows, err := tx.QueryContext(ctx, `SELECT d.id, f.reason FROM search_embedding_failures f
		JOIN search_documents d ON d.collection = f.collection AND d.no = f.no
		WHERE f.collection = $1 AND f.embedding_generation = $2 ORDER BY f.no LIMIT $3`, c.UID, c.EmbeddingGeneration, failuresNamed)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var named []string
	for rows.Next() {
		var id, why string
		if err := rows.Scan(&id, &why); err != nil {
			return 0, "", err
		}
		named = append(named, fmt.Sprintf("%q (%s)", id, why))
	}
	return n, fmt.Sprintf("%d documents cannot be embedded: %s", n, strings.Join(named, ", ")), rows.Err()
}
