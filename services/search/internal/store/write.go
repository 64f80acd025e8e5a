package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Write is documents to be written together.
type Write struct {
	// Digest and Dimensions tell which model made the vectors; Dimensions 0 when
	// no document brings new ones.
	Digest     string
	Dimensions int
	Documents  []Version
	// By says whose documents may be replaced.
	By Rights
	// MaxChunks bounds the chunks of the collection; 0 does not.
	MaxChunks int
}

// Written is what became of one document.
type Written struct {
	ID      string
	Created bool
	// Hidden: there is a document of that id which the caller may not read; it
	// stays as it is.
	Hidden bool
	// Full: the collection would have had more than MaxChunks; what there was of
	// that id stays as it is.
	Full bool
}

// Upsert writes the documents, whose ids differ, in one transaction, each as a
// new version, and returns what became of them and the collection's generation
// afterwards. One that exists and that w.By does not cover is left as it is,
// and its generation is passed over. Vectors that another version of the model made than those the
// collection has, and passages of another embedding generation than the one that serves, are
// refused with ErrModelChanged.
func (s *Store) Upsert(ctx context.Context, c Collection, w Write) (out []Written, generation int64, err error) {
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		out = out[:0]
		last, err := advance(ctx, tx, c.UID, int64(len(w.Documents)), s.now())
		if errors.Is(err, sql.ErrNoRows) {
			return noCollection(c.ID)
		}
		if err != nil {
			return fmt.Errorf("search store: take a generation: %w", err)
		}
		if err := pinModel(ctx, tx, c, w); err != nil {
			return err
		}
		room, err := room(ctx, tx, c.UID, w.MaxChunks)
		if err != nil {
			return err
		}
		st := newStatements(tx)
		defer func() { err = errors.Join(err, st.close()) }()
		generation = last
		var sum counts
		no := last - int64(len(w.Documents))
		for _, d := range w.Documents {
			no++
			d.No = no
			old, err := s.upsertOne(ctx, st, c, d, w.By, room-sum.chunks)
			if errors.Is(err, errHidden) || errors.Is(err, errFull) {
				out = append(out, Written{ID: d.ID, Hidden: errors.Is(err, errHidden), Full: errors.Is(err, errFull)})
				continue
			}
			if err != nil {
				return fmt.Errorf("search store: write a document: %w", err)
			}
			sum.documents += 1 - old.documents
			sum.chunks += len(d.Chunks) - old.chunks
			out = append(out, Written{ID: d.ID, Created: old.documents == 0 || old.expired})
		}
		if err := noteExpiry(ctx, tx, c, w.Documents); err != nil {
			return err
		}
		return count(ctx, tx, c.UID, sum)
	})
	if err != nil {
		return nil, 0, err
	}
	return out, generation, nil
}

// remembered is how many generations of removals are kept for indexes that
// follow; one that is further behind is made anew.
const remembered = 10_000

// advance takes the collection's next n generations and returns the last. It
// comes first in every write: the row's lock makes writers take turns, so
// generations become visible in order.
func advance(ctx context.Context, tx *sql.Tx, uid string, n, now int64) (int64, error) {
	var last, forgotten int64
	err := tx.QueryRowContext(ctx, `
		UPDATE search_collections SET generation = generation + $2, update_time = $3 WHERE uid = $1
		RETURNING generation, forgotten`, uid, n, now).Scan(&last, &forgotten)
	if err != nil || last-forgotten < 2*remembered {
		return last, err
	}
	// An index that is behind by what was added alone goes on, however far.
	err = tx.QueryRowContext(ctx,
		`SELECT COALESCE(MAX(generation), 0) FROM search_removals WHERE collection = $1 AND generation <= $2`, uid, last-remembered).Scan(&forgotten)
	if err != nil || forgotten == 0 {
		return last, err
	}
	if _, err := tx.ExecContext(ctx,
		`UPDATE search_collections SET forgotten = $2 WHERE uid = $1`, uid, forgotten); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx,
		`DELETE FROM search_removals WHERE collection = $1 AND generation <= $2`, uid, forgotten)
	return last, err
}

// pinModel notes the model version of the first vectors, and holds later ones
// to it: vectors of two versions cannot be compared.
func pinModel(ctx context.Context, tx *sql.Tx, c Collection, w Write) error {
	var digest string
	var dimensions, serving int
	err := tx.QueryRowContext(ctx, `SELECT embedding_digest, dimensions, embedding_generation FROM search_collections WHERE uid = $1`, c.UID).
		Scan(&digest, &dimensions, &serving)
	switch {
	case err != nil:
		return fmt.Errorf("search store: read the model: %w", err)
	case serving != c.EmbeddingGeneration:
		return ErrModelChanged
	case w.Dimensions == 0:
		return nil
	case dimensions == w.Dimensions && digest == w.Digest:
		return nil
	case dimensions != 0:
		return ErrModelChanged
	}
	for _, query := range []string{
		`UPDATE search_collections SET embedding_digest = $2, dimensions = $3 WHERE uid = $1 AND embedding_generation = $4`,
		`UPDATE search_embedding_generations SET embedding_digest = $2, dimensions = $3 WHERE collection = $1 AND number = $4`,
	} {
		if _, err := tx.ExecContext(ctx, query, c.UID, w.Digest, w.Dimensions, serving); err != nil {
			return fmt.Errorf("search store: note the model: %w", err)
		}
	}
	return nil
}

// room returns how many chunks the collection may still have. It is asked in the
// transaction, after advance, so that writers side by side share one bound.
func room(ctx context.Context, tx *sql.Tx, uid string, most int) (int, error) {
	if most <= 0 {
		return math.MaxInt32, nil
	}
	var have int
	if err := tx.QueryRowContext(ctx, `SELECT chunk_count FROM search_collections WHERE uid = $1`, uid).Scan(&have); err != nil {
		return 0, fmt.Errorf("search store: count the chunks: %w", err)
	}
	return most - have, nil
}

// counts are documents and their chunks.
type counts struct {
	documents, chunks int
	expired           bool // they had ended
}

// errHidden says that the writer may not touch the document.
var errHidden = errors.New("the document is hidden from the writer")

// errFull says that there is no room for the document's chunks.
var errFull = errors.New("the collection is full")

// upsertOne writes one document, which may add at most room chunks, and returns
// what it replaced.
func (s *Store) upsertOne(ctx context.Context, tx *statements, c Collection, d Version, by Rights, room int) (counts, error) {
	var old counts
	created := s.now()
	var oldNo, oldCreated, expires int64
	var oldText string
	var covered bool
	in, args := by.covers(3)
	err := tx.QueryRowContext(ctx,
		`SELECT d.no, d.chunk_count, d.create_time, d.expire_time, d.text_hash, `+in+` FROM search_documents d WHERE d.collection = $1 AND d.id = $2`,
		append([]any{c.UID, d.ID}, args...)...).
		Scan(&oldNo, &old.chunks, &oldCreated, &expires, &oldText, &covered)
	old.expired = expires != 0 && expires <= created // it is nobody's any more
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return counts{}, err
	case !covered && !old.expired:
		return counts{}, errHidden
	}
	if more := len(d.Chunks) - old.chunks; more > 0 && more > room {
		return counts{}, errFull
	}
	if err == nil {
		if old.documents = 1; !old.expired {
			created = oldCreated
		}
		if oldText == d.TextHash {
			if err := carryOver(ctx, tx, c, oldNo, d.No); err != nil {
				return counts{}, err
			}
		}
		if err := removeVersion(ctx, tx, c.UID, d.ID, oldNo, d.No); err != nil {
			return counts{}, err
		}
	}
	return old, s.insertVersion(ctx, tx, c, d, created)
}

// carryOver gives the new version of a document with the same title and text
// the passages that the other embedding generations have of the old one.
func carryOver(ctx context.Context, tx *statements, c Collection, from, to int64) error {
	_, err := tx.ExecContext(ctx,
		`UPDATE search_chunks SET no = $3 WHERE collection = $1 AND no = $2
			AND embedding_generation IN (SELECT number FROM search_embedding_generations WHERE collection = $1 AND number <> $4)`,
		c.UID, from, to, c.EmbeddingGeneration)
	return err
}

// chunksOfVersion removes a version's passages, those of every embedding
// generation. Naming the generations lets the primary key find them.
const chunksOfVersion = `DELETE FROM search_chunks WHERE collection = $1 AND no = $2
	AND embedding_generation IN (SELECT number FROM search_embedding_generations WHERE collection = $1)`

// removeVersion removes one version and notes, under the generation that did
// it, that indexes must forget it.
func removeVersion(ctx context.Context, tx *statements, uid, id string, no, generation int64) error {
	for _, stmt := range []struct {
		query string
		args  []any
	}{
		{chunksOfVersion, []any{uid, no}},
		{`DELETE FROM search_embedding_failures WHERE collection = $1 AND no = $2`, []any{uid, no}},
		{`DELETE FROM search_principals WHERE collection = $1 AND document = $2`, []any{uid, id}},
		{`DELETE FROM search_documents WHERE collection = $1 AND id = $2`, []any{uid, id}},
		{`INSERT INTO search_removals (collection, generation, no) VALUES ($1, $2, $3)`, []any{uid, generation, no}},
	} {
		if _, err := tx.ExecContext(ctx, stmt.query, stmt.args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) insertVersion(ctx context.Context, tx *statements, c Collection, d Version, created int64) error {
	acl, err := encodeACL(d.Document)
	if err != nil {
		return err
	}
	updated := s.now()
	if !d.UpdateTime.IsZero() { // restored
		updated = d.UpdateTime.UnixNano()
	}
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO search_documents
			(collection, id, no, title, text, metadata, acl, content_hash, text_hash, chunk_count, create_time, update_time, expire_time)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		c.UID, d.ID, d.No, d.Title, d.Text, string(d.Metadata), acl, d.ContentHash, d.TextHash, len(d.Chunks), created, updated, expiry(d.Document)); err != nil {
		return err
	}
	for _, p := range d.Principals {
		if _, err := tx.ExecContext(ctx,
			`INSERT INTO search_principals (collection, principal, document) VALUES ($1, $2, $3)`, c.UID, p, d.ID); err != nil {
			return err
		}
	}
	return insertChunks(ctx, tx, c, d.No, d.Chunks)
}

// insertChunks adds the passages that c's embedding generation has of a version.
func insertChunks(ctx context.Context, tx *statements, c Collection, no int64, chunks []Chunk) error {
	for _, ch := range chunks {
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO search_chunks (collection, embedding_generation, no, number, start_offset, end_offset, terms, text, vector, headings)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			c.UID, c.EmbeddingGeneration, no, ch.Number, ch.Start, ch.End, ch.Terms, ch.Text, encodeVector(ch.Vector), encodeHeadings(ch.Headings)); err != nil {
			return err
		}
	}
	return nil
}

func encodeACL(d Document) (sql.NullString, error) {
	if !d.HasACL {
		return sql.NullString{}, nil
	}
	list := d.ACL
	if list == nil {
		list = []string{}
	}
	b, err := json.Marshal(list)
	return sql.NullString{String: string(b), Valid: true}, err
}

// count adds to the collection's counts, in the transaction that changes them.
func count(ctx context.Context, tx *sql.Tx, uid string, add counts) error {
	if _, err := tx.ExecContext(ctx, `
		UPDATE search_collections SET document_count = document_count + $2, chunk_count = chunk_count + $3
		WHERE uid = $1`, uid, add.documents, add.chunks); err != nil {
		return fmt.Errorf("search store: count: %w", err)
	}
	return nil
}

// DeleteDocument removes a document that the rights cover, and returns the
// generation afterwards. One that they do not cover is NOT_FOUND.
func (s *Store) DeleteDocument(ctx context.Context, c Collection, by Rights, id string) (generation int64, err error) {
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		next, err := advance(ctx, tx, c.UID, 1, s.now())
		if errors.Is(err, sql.ErrNoRows) {
			return noCollection(c.ID)
		}
		if err != nil {
			return fmt.Errorf("search store: take a generation: %w", err)
		}
		covered, args := by.covers(3)
		var no int64
		var old counts
		err = tx.QueryRowContext(ctx, `SELECT d.no, d.chunk_count FROM search_documents d WHERE d.collection = $1 AND d.id = $2 AND `+s.live()+` AND `+covered,
			append([]any{c.UID, id}, args...)...).Scan(&no, &old.chunks)
		if errors.Is(err, sql.ErrNoRows) {
			return noDocument(id)
		}
		if err == nil {
			err = removeVersion(ctx, newStatements(tx), c.UID, id, no, next)
		}
		if err != nil {
			return fmt.Errorf("search store: delete a document: %w", err)
		}
		generation = next
		return count(ctx, tx, c.UID, counts{documents: -1, chunks: -old.chunks})
	})
	if err != nil {
		return 0, err
	}
	return generation, nil
}
