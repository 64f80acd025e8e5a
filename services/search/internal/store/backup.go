package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/sqldb"
)

// Everything hands fn the collection and all of its versions, ordered by number
// and with their text, as of one moment.
func (s *Store) Everything(ctx context.Context, c Collection, fn func(c Collection, versions iter.Seq2[Version, error]) error) error {
	return s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now, err := scanCollection(tx.QueryRowContext(ctx,
			`SELECT `+collectionColumns+` FROM search_collections WHERE uid = $1`, c.UID))
		if errors.Is(err, sql.ErrNoRows) {
			return noCollection(c.ID)
		}
		if err != nil {
			return fmt.Errorf("search store: read a collection: %w", err)
		}
		return fn(now, whole(ctx, tx, now))
	})
}

// whole reads all versions with their chunks and text.
func whole(ctx context.Context, tx *sql.Tx, c Collection) iter.Seq2[Version, error] {
	none := func(int64, int) bool { return false }
	return func(yield func(Version, error) bool) {
		for v, err := range versionsExcept(ctx, tx, c, none) {
			if err == nil {
				err = tx.QueryRowContext(ctx, `SELECT text FROM search_documents WHERE collection = $1 AND id = $2`, c.UID, v.ID).Scan(&v.Text)
			}
			if err != nil {
				yield(Version{}, fmt.Errorf("search store: read everything: %w", err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Restore makes a collection with its settings and versions, whose numbers grow
// and are not above its generation: all of it, or nothing when there is an
// error. maxPerTenant bounds the tenant's collections, maxChunks the
// collection's chunks. Nobody else writes meanwhile where the database has one
// writer.
func (s *Store) Restore(ctx context.Context, c Collection, versions iter.Seq2[Version, error], maxPerTenant, maxChunks int) (Collection, error) {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		if err := s.insertCollection(ctx, tx, c, maxPerTenant); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE search_collections SET embedding_digest = $2, dimensions = $3, generation = $4, forgotten = $4 WHERE uid = $1`,
			c.UID, c.EmbeddingDigest, c.Dimensions, c.Generation); err != nil {
			return fmt.Errorf("search store: restore a collection: %w", err)
		}
		var sum counts
		again := newStatements(tx)
		expires := false
		defer func() { err = errors.Join(err, again.close()) }()
		for v, err := range versions {
			if err != nil {
				return err
			}
			if sum.chunks += len(v.Chunks); sum.chunks > maxChunks {
				return apierr.New(apierr.FailedPrecondition, "a collection may have %d passages; the backup has more", maxChunks)
			}
			sum.documents++
			if !expires && !v.ExpireTime.IsZero() {
				expires = true
				if err := markExpires(ctx, tx, c.UID); err != nil {
					return err
				}
			}
			err = s.insertVersion(ctx, again, c.UID, v, cmp.Or(v.CreateTime.UnixNano(), s.now()))
			if sqldb.IsUnique(err) {
				return apierr.Invalid("data", "the backup cannot be restored: it has document %q twice", v.ID)
			}
			if err != nil {
				return fmt.Errorf("search store: restore a document: %w", err)
			}
		}
		return count(ctx, tx, c.UID, sum)
	})
	if err != nil {
		return Collection{}, err
	}
	return s.Collection(ctx, c.Tenant, c.ID)
}
