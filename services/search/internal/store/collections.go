package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

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

const defaultMetric = "cosine"

const collectionColumns = `c.tenant, c.id, c.uid, c.display_name, c.embedding_model, c.embedding_digest, c.dimensions,
	c.document_count, c.chunk_count, c.generation, c.fusion, c.lexical_weight, c.vector_weight, c.vector_metric,
	c.expires, c.create_time, c.update_time,
	c.embedding_generation, c.serving_since, g.chunking, g.analyser,
	COALESCE((SELECT max(b.number) FROM search_embedding_generations b
		WHERE b.collection = c.uid AND b.state IN ('building', 'ready')), 0)`

// withoutExpired has documents that have ended and are not removed yet left out
// of a collection's counts; the time is the parameter of that number.
func withoutExpired(now int) string {
	sum := func(what string) string {
		return `CASE c.expires WHEN 0 THEN 0 ELSE (SELECT coalesce(` + what + `, 0) FROM search_documents d
			WHERE d.collection = c.uid AND d.expire_time > 0 AND d.expire_time <= $` + strconv.Itoa(now) + `) END`
	}
	return strings.Replace(collectionColumns, "c.document_count, c.chunk_count",
		"c.document_count - "+sum("count(*)")+", c.chunk_count - "+sum("sum(d.chunk_count)"), 1)
}

// servedCollections are the collections c, each with the embedding generation g
// that serves it.
const servedCollections = `search_collections c
	JOIN search_embedding_generations g ON g.collection = c.uid AND g.number = c.embedding_generation `

type scanner interface{ Scan(dest ...any) error }

func scanCollection(row scanner) (Collection, error) {
	var c Collection
	var created, updated int64
	var w Weights
	var expires int
	var chunking string
	err := row.Scan(
		&c.Tenant, &c.ID, &c.UID, &c.DisplayName, &c.EmbeddingModel, &c.EmbeddingDigest, &c.Dimensions,
		&c.DocumentCount, &c.ChunkCount, &c.Generation,
		&c.Fusion, &w.Lexical, &w.Vector, &c.VectorMetric, &expires, &created, &updated,
		&c.EmbeddingGeneration, &c.ServingSince, &chunking, &c.Analyser, &c.BuildingGeneration)
	if err != nil {
		return Collection{}, err
	}
	c.Expires = expires != 0
	if w != (Weights{}) {
		c.Weights = &w
	}
	c.CreateTime, c.UpdateTime = fromNanos(created), fromNanos(updated)
	c.Chunking, err = decodeChunking(chunking)
	return c, err
}

// CreateCollection adds a collection. Of c only Tenant, ID, UID, DisplayName,
// EmbeddingModel, Fusion, Weights, VectorMetric ("" means cosine), Chunking and
// Analyser are used. maxPerTenant bounds the tenant's collections.
func (s *Store) CreateCollection(ctx context.Context, c Collection, maxPerTenant int) (Collection, error) {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return s.insertCollection(ctx, tx, c, maxPerTenant)
	})
	if err != nil {
		return Collection{}, err
	}
	return s.Collection(ctx, c.Tenant, c.ID)
}

func (s *Store) insertCollection(ctx context.Context, tx *sql.Tx, c Collection, maxPerTenant int) error {
	var w Weights // both 0: none
	if c.Weights != nil {
		w = *c.Weights
	}
	var count int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM search_collections WHERE tenant = $1`, c.Tenant).Scan(&count); err != nil {
		return fmt.Errorf("search store: count collections: %w", err)
	}
	if count >= maxPerTenant {
		return apierr.New(apierr.FailedPrecondition, "there are %d collections already, which is the limit", count)
	}
	now := s.now()
	_, err := tx.ExecContext(ctx, `
		INSERT INTO search_collections
			(tenant, id, uid, display_name, embedding_model, fusion, lexical_weight, vector_weight, vector_metric,
			 generation, forgotten, create_time, update_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 1, $10, $10)`,
		c.Tenant, c.ID, c.UID, c.DisplayName, c.EmbeddingModel, c.Fusion, w.Lexical, w.Vector,
		cmp.Or(c.VectorMetric, defaultMetric), now)
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
}

// Collection returns the tenant's collection, or NOT_FOUND.
func (s *Store) Collection(ctx context.Context, tenant, id string) (Collection, error) {
	c, err := scanCollection(s.often.QueryRowContext(ctx,
		`SELECT `+withoutExpired(3)+` FROM `+servedCollections+`WHERE c.tenant = $1 AND c.id = $2`, tenant, id, s.now()))
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
	args = append(args, s.now())
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+withoutExpired(len(args))+` FROM `+servedCollections+where, args...)
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
// what it was. A collection that has a document which the rights do not cover is
// PERMISSION_DENIED, and stays.
func (s *Store) DeleteCollection(ctx context.Context, tenant, id string, by Rights) (Collection, error) {
	var c Collection
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// The row's lock has writers wait: no document comes in between.
		err := tx.QueryRowContext(ctx, `UPDATE search_collections SET generation = generation
			WHERE tenant = $1 AND id = $2 RETURNING uid`, tenant, id).Scan(&c.UID)
		if err != nil {
			return err
		}
		if err := s.coversAll(ctx, tx, c.UID, by); err != nil {
			return err
		}
		c, err = scanCollection(tx.QueryRowContext(ctx,
			`SELECT `+collectionColumns+` FROM `+servedCollections+`WHERE c.uid = $1`, c.UID))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM search_collections WHERE uid = $1`, c.UID)
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Collection{}, noCollection(id)
	}
	if _, ok := errors.AsType[*apierr.Error](err); ok {
		return Collection{}, err
	}
	if err != nil {
		return Collection{}, fmt.Errorf("search store: delete a collection: %w", err)
	}
	return c, nil
}

// coversAll refuses rights that do not cover each document of a collection. It
// tells of none, nor how many there are.
func (s *Store) coversAll(ctx context.Context, tx *sql.Tx, uid string, by Rights) error {
	if by.All {
		return nil
	}
	covered, args := by.covers(2)
	var more bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM search_documents d
		WHERE d.collection = $1 AND `+s.live()+` AND NOT `+covered+`)`, append([]any{uid}, args...)...).Scan(&more); err != nil {
		return err
	}
	if more {
		return apierr.New(apierr.PermissionDenied,
			"a collection is deleted by administrators, or by who may delete each of its documents").WithField("collection")
	}
	return nil
}
