package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
)

func migrationsFS() (fs.FS, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("search store: migrations: %w", err)
	}
	return sub, nil
}

const collectionColumns = `c.tenant, c.id, c.uid, c.display_name, c.embedding_model, c.embedding_digest, c.dimensions,
	c.document_count, c.chunk_count, c.generation, c.fusion, c.lexical_weight, c.vector_weight, c.create_time, c.update_time,
	c.embedding_generation, c.serving_since, g.chunking, g.analyser,
	COALESCE((SELECT max(b.number) FROM search_embedding_generations b
		WHERE b.collection = c.uid AND b.state IN ('building', 'ready')), 0)`

// servedCollections are the collections c, each with the embedding generation g
// that serves it.
const servedCollections = `search_collections c
	JOIN search_embedding_generations g ON g.collection = c.uid AND g.number = c.embedding_generation `

type scanner interface{ Scan(dest ...any) error }

func scanCollection(row scanner, more ...any) (Collection, error) {
	var c Collection
	var created, updated int64
	var w Weights
	var chunking string
	err := row.Scan(append([]any{
		&c.Tenant, &c.ID, &c.UID, &c.DisplayName, &c.EmbeddingModel, &c.EmbeddingDigest, &c.Dimensions,
		&c.DocumentCount, &c.ChunkCount, &c.Generation,
		&c.Fusion, &w.Lexical, &w.Vector, &created, &updated,
		&c.EmbeddingGeneration, &c.ServingSince, &chunking, &c.Analyser, &c.BuildingGeneration,
	}, more...)...)
	if err != nil {
		return Collection{}, err
	}
	if w != (Weights{}) {
		c.Weights = &w
	}
	c.CreateTime, c.UpdateTime = fromNanos(created), fromNanos(updated)
	c.Chunking, err = decodeChunking(chunking)
	return c, err
}

// CreateCollection adds a collection. Of c only Tenant, ID, UID, DisplayName,
// EmbeddingModel, Chunking, Analyser,
// Fusion and Weights are used. maxPerTenant bounds the tenant's collections.
func (s *Store) CreateCollection(ctx context.Context, c Collection, maxPerTenant int) (Collection, error) {
	now := s.now()
	var w Weights // both 0: none
	if c.Weights != nil {
		w = *c.Weights
	}
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM search_collections WHERE tenant = $1`, c.Tenant).Scan(&count); err != nil {
			return fmt.Errorf("search store: count collections: %w", err)
		}
		if count >= maxPerTenant {
			return apierr.New(apierr.FailedPrecondition, "there are %d collections already, which is the limit", count)
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO search_collections
				(tenant, id, uid, display_name, embedding_model, fusion, lexical_weight, vector_weight,
				 generation, forgotten, create_time, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 1, $9, $9)`,
			c.Tenant, c.ID, c.UID, c.DisplayName, c.EmbeddingModel, c.Fusion, w.Lexical, w.Vector, now)
		if sqldb.IsUnique(err) {
			return apierr.New(apierr.AlreadyExists, "there is a collection %q already", c.ID).WithField("id")
		}
		if err == nil {
			err = insertEmbeddingGeneration(ctx, tx, c.UID, EmbeddingGeneration{
				Number: 1, EmbeddingModel: c.EmbeddingModel, Chunking: c.Chunking, Analyser: c.Analyser, State: Serving,
			}, now)
		}
		if err != nil {
			return fmt.Errorf("search store: create a collection: %w", err)
		}
		return nil
	})
	if err != nil {
		return Collection{}, err
	}
	return s.Collection(ctx, c.Tenant, c.ID)
}

// Collection returns the tenant's collection, or NOT_FOUND.
func (s *Store) Collection(ctx context.Context, tenant, id string) (Collection, error) {
	c, err := scanCollection(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+collectionColumns+` FROM `+servedCollections+`WHERE c.tenant = $1 AND c.id = $2`, tenant, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Collection{}, noCollection(id)
	}
	if err != nil {
		return Collection{}, fmt.Errorf("search store: read a collection: %w", err)
	}
	return c, nil
}

// Collections returns at most limit of the tenant's collections by id, those
// after the given one.
func (s *Store) Collections(ctx context.Context, tenant, after string, limit int) ([]Collection, error) {
	return s.collections(ctx, `WHERE c.tenant = $1 AND c.id > $2 ORDER BY c.id LIMIT $3`, tenant, after, limit)
}

// AllCollections returns the collections of every tenant, in no order.
func (s *Store) AllCollections(ctx context.Context) ([]Collection, error) {
	return s.collections(ctx, ``)
}

func (s *Store) collections(ctx context.Context, where string, args ...any) (out []Collection, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+collectionColumns+` FROM `+servedCollections+where, args...)
	if err != nil {
		return nil, fmt.Errorf("search store: list collections: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		c, err := scanCollection(rows)
		if err != nil {
			return nil, fmt.Errorf("search store: list collections: %w", err)
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// DeleteCollection removes the collection with everything in it, and returns
// what it was.
func (s *Store) DeleteCollection(ctx context.Context, tenant, id string) (Collection, error) {
	var c Collection
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var err error
		c, err = scanCollection(tx.QueryRowContext(ctx,
			`SELECT `+collectionColumns+` FROM `+servedCollections+`WHERE c.tenant = $1 AND c.id = $2`, tenant, id))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM search_collections WHERE uid = $1`, c.UID)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Collection{}, noCollection(id)
	}
	if err != nil {
		return Collection{}, fmt.Errorf("search store: delete a collection: %w", err)
	}
	return c, nil
}
