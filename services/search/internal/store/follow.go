package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
)

// ErrForgotten says that the removals since a generation are not all listed
// any more: the index must be made anew.
var ErrForgotten = errors.New("search store: the removals since then are forgotten")

// Changes leads an index from one generation to a later one.
type Changes struct {
	// Through is the generation reached; Complete reports that it is the present.
	Through  int64
	Complete bool
	Versions []Version
	Removed  []int64
}

// Generation returns the collection's generation; NOT_FOUND when it is gone.
func (s *Store) Generation(ctx context.Context, c Collection) (int64, error) {
	var g int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT generation FROM search_collections WHERE uid = $1`, c.UID).Scan(&g)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, noCollection(c.ID)
	}
	if err != nil {
		return 0, fmt.Errorf("search store: read a generation: %w", err)
	}
	return g, nil
}

// pageChunks is after how many chunks a page of changes ends, however few
// versions have them: they are in memory together.
const pageChunks = 4096

// Changes returns what became of the collection after the given generation: at
// most limit versions at a time, fewer when they have many chunks, as c's
// embedding generation has them. When that does not serve and has no more, the
// error is ErrNotServing.
func (s *Store) Changes(ctx context.Context, c Collection, since int64, limit int) (Changes, error) {
	var out Changes
	err := s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		out = Changes{}
		chunks := 0
		generation, err := generationSince(ctx, tx, c, since)
		if err != nil {
			return err
		}
		for v, err := range versions(ctx, tx, c, since, generation, limit) {
			if err != nil {
				return err
			}
			out.Versions = append(out.Versions, v)
			if chunks += len(v.Chunks); chunks >= pageChunks {
				break
			}
		}
		out.Through, out.Complete = generation, true
		if n := len(out.Versions); n == limit || chunks >= pageChunks {
			out.Through, out.Complete = out.Versions[n-1].No, false
		}
		out.Removed, err = removed(ctx, tx, c, since, out.Through)
		return err
	})
	if err != nil {
		return Changes{}, fmt.Errorf("search store: read changes: %w", err)
	}
	return out, nil
}

func generationSince(ctx context.Context, tx *sql.Tx, c Collection, since int64) (int64, error) {
	through, forgotten, serves, err := embeddedThrough(ctx, tx, c)
	switch {
	case err != nil:
		return 0, err
	case since == through && !serves:
		return 0, ErrNotServing
	case since < forgotten || since > through:
		return 0, ErrForgotten
	default:
		return through, nil
	}
}

// ErrNotServing says that another embedding generation serves the collection:
// this one's index follows no further for now.
var ErrNotServing = errors.New("search store: another embedding generation serves the collection")

// ErrNoEmbeddingGeneration says that there is no such embedding generation (any
// more), or that it is not complete, so that it has no index.
var ErrNoEmbeddingGeneration = errors.New("search store: there is no such embedding generation to index")

// embeddedThrough returns up to which generation c's embedding generation can be
// indexed: to the present one while it serves, else as far as it is embedded.
func embeddedThrough(ctx context.Context, tx *sql.Tx, c Collection) (through, forgotten int64, serves bool, err error) {
	var state sql.NullString
	var embedded sql.NullInt64
	err = tx.QueryRowContext(ctx, `
		SELECT c.generation, c.forgotten, g.state, g.through FROM search_collections c
		LEFT JOIN search_embedding_generations g ON g.collection = c.uid AND g.number = $2
		WHERE c.uid = $1`, c.UID, c.EmbeddingGeneration).Scan(&through, &forgotten, &state, &embedded)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, 0, false, noCollection(c.ID)
	case err != nil:
		return 0, 0, false, err
	}
	switch State(state.String) {
	case Serving:
		return through, forgotten, true, nil
	case Ready, Retired:
		return embedded.Int64, forgotten, false, nil
	case Building, Failed, Removing:
		fallthrough
	default:
		return 0, 0, false, ErrNoEmbeddingGeneration
	}
}

func removed(ctx context.Context, tx *sql.Tx, c Collection, since, through int64) (out []int64, err error) {
	rows, err := tx.QueryContext(ctx,
		`SELECT no FROM search_removals WHERE collection = $1 AND generation > $2 AND generation <= $3`, c.UID, since, through)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var no int64
		if err := rows.Scan(&no); err != nil {
			return nil, err
		}
		out = append(out, no)
	}
	return out, rows.Err()
}

// SnapshotExcept hands fn every version that c's embedding generation has, ordered
// by number, as of one generation. Its reader may have some already: kept says so
// of a version with so many chunks, and it is handed over with Kept set, its chunks
// numbered and empty. nil keeps none.
func (s *Store) SnapshotExcept(ctx context.Context, c Collection, kept func(no int64, chunks int) bool,
	fn func(generation int64, versions iter.Seq2[Version, error]) error,
) error {
	err := s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		through, _, _, err := embeddedThrough(ctx, tx, c)
		if err != nil {
			return err
		}
		if kept == nil {
			return fn(through, versions(ctx, tx, c, 0, through, -1))
		}
		return fn(through, versionsExcept(ctx, tx, c, through, kept))
	})
	if err != nil {
		return fmt.Errorf("search store: read everything: %w", err)
	}
	return nil
}

// versions reads the versions after a number and up to another with the chunks
// that c's embedding generation has of them, without the documents' text; at
// most limit, or all when limit is negative.
func versions(ctx context.Context, tx *sql.Tx, c Collection, after, through int64, limit int) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		query := `
			SELECT ` + documentColumns + `,
				c.number, c.start_offset, c.end_offset, c.terms, c.text, c.vector
			FROM search_documents d JOIN search_chunks c ON c.collection = d.collection AND c.no = d.no
			WHERE d.collection = $1 AND d.no > $2 AND d.no <= $3 AND c.embedding_generation = $4`
		args := []any{c.UID, after, through, c.EmbeddingGeneration}
		if limit >= 0 {
			// Up to the last of the page: with a list of its numbers SQLite sorts.
			query += ` AND d.no <= (SELECT MAX(no) FROM (
				SELECT no FROM search_documents WHERE collection = $1 AND no > $2 AND no <= $3 ORDER BY no LIMIT $5) page)`
			args = append(args, limit)
		}
		rows, err := tx.QueryContext(ctx, query+` ORDER BY d.no, c.number`, args...)
		if err != nil {
			yield(Version{}, err)
			return
		}
		if err := eachVersion(rows, c.Tenant, yield); err != nil {
			yield(Version{}, err)
		}
	}
}

// eachVersion joins the rows of one version and yields it whole.
func eachVersion(rows *sql.Rows, tenant string, yield func(Version, error) bool) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	var open Version
	for rows.Next() {
		var ch Chunk
		var raw []byte
		d, err := scanDocument(rows, &ch.Number, &ch.Start, &ch.End, &ch.Terms, &ch.Text, &raw)
		if err != nil {
			return err
		}
		if ch.Vector, err = decodeVector(raw); err != nil {
			return err
		}
		if d.No != open.No {
			if open.No != 0 && !yield(open, nil) {
				return nil
			}
			open = Version{Document: d, Principals: PrincipalsOf(tenant, d)}
		}
		open.Chunks = append(open.Chunks, ch)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if open.No != 0 {
		yield(open, nil)
	}
	return nil
}

// PrincipalsOf returns who may read the document: its access list, or
// everybody in the tenant when it has none.
func PrincipalsOf(tenant string, d Document) []string {
	if d.HasACL {
		return d.ACL
	}
	return []string{"tenant:" + tenant}
}

// Chunks returns the chunks that c's embedding generation has of one version, with their vectors; none when the
// version is gone.
func (s *Store) Chunks(ctx context.Context, c Collection, no int64) (out []Chunk, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `
		SELECT number, start_offset, end_offset, terms, text, vector FROM search_chunks
		WHERE collection = $1 AND embedding_generation = $2 AND no = $3 ORDER BY number`, c.UID, c.EmbeddingGeneration, no)
	if err != nil {
		return nil, fmt.Errorf("search store: read chunks: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var ch Chunk
		var raw []byte
		if err := rows.Scan(&ch.Number, &ch.Start, &ch.End, &ch.Terms, &ch.Text, &raw); err != nil {
			return nil, fmt.Errorf("search store: read chunks: %w", err)
		}
		if ch.Vector, err = decodeVector(raw); err != nil {
			return nil, err
		}
		out = append(out, ch)
	}
	return out, rows.Err()
}
