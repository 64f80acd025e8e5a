package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// readable is the condition that a document d may be read by any of the
// principals whose placeholders are given: the access list is part of every
// query.
func readable(placeholders string) string {
	return `EXISTS (SELECT 1 FROM search_principals p
		WHERE p.collection = d.collection AND p.document = d.id AND p.principal IN (` + placeholders + `))`
}

// anyOf returns placeholders from $first on for the values; none match nothing.
func anyOf(first int, values []string) (string, []any) {
	if len(values) == 0 {
		return "NULL", nil
	}
	var b strings.Builder
	args := make([]any, len(values))
	for i, v := range values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(first+i))
		args[i] = v
	}
	return b.String(), args
}

const documentColumns = `d.id, d.no, d.title, d.metadata, d.acl, d.content_hash, d.text_hash, d.chunk_count, d.create_time, d.update_time, d.expire_time`

// live is the condition that a document d has not ended.
func (s *Store) live() string {
	return `(d.expire_time = 0 OR d.expire_time > ` + strconv.FormatInt(s.now(), 10) + `)`
}

func scanDocument(row scanner, more ...any) (Document, error) {
	var d Document
	var metadata string
	var acl sql.NullString
	var created, updated, expires int64
	err := row.Scan(append([]any{
		&d.ID, &d.No, &d.Title, &metadata, &acl, &d.ContentHash, &d.TextHash, &d.ChunkCount, &created, &updated, &expires,
	}, more...)...)
	if err != nil {
		return Document{}, err
	}
	if expires != 0 {
		d.ExpireTime = fromNanos(expires)
	}
	d.Metadata, d.CreateTime, d.UpdateTime = []byte(metadata), fromNanos(created), fromNanos(updated)
	if d.HasACL = acl.Valid; d.HasACL {
		if err := json.Unmarshal([]byte(acl.String), &d.ACL); err != nil {
			return Document{}, fmt.Errorf("access list of %q: %w", d.ID, err)
		}
	}
	return d, nil
}

// Document returns a document that one of the principals may read, or
// NOT_FOUND.
func (s *Store) Document(ctx context.Context, c Collection, principals []string, id string) (Document, error) {
	in, args := anyOf(3, principals)
	var text string
	d, err := scanDocument(s.db.Reader().QueryRowContext(ctx,
		`SELECT `+documentColumns+`, d.text FROM search_documents d WHERE d.collection = $1 AND d.id = $2 AND `+s.live()+` AND `+readable(in),
		append([]any{c.UID, id}, args...)...), &text)
	if errors.Is(err, sql.ErrNoRows) {
		return Document{}, noDocument(id)
	}
	if err != nil {
		return Document{}, fmt.Errorf("search store: read a document: %w", err)
	}
	d.Text = text
	return d, nil
}

// Documents returns at most limit documents by id that one of the principals
// may read, those after the given one, without their text.
func (s *Store) Documents(ctx context.Context, c Collection, principals []string, after string, limit int) ([]Document, error) {
	in, args := anyOf(4, principals)
	return s.documents(ctx, `WHERE d.collection = $1 AND d.id > $2 AND `+s.live()+` AND `+readable(in)+` ORDER BY d.id LIMIT $3`,
		append([]any{c.UID, after, limit}, args...)...)
}

// Existing is what there is of a document that is to be written.
type Existing struct {
	Document
	// Hidden: the writer's rights do not cover it.
	Hidden bool
}

// Existing returns what there is of the named documents, by id and without
// text: it is for deciding what a write changes, and whether it may.
func (s *Store) Existing(ctx context.Context, c Collection, by Rights, ids []string) (out map[string]Existing, err error) {
	in, args := anyOf(2, ids)
	args = append([]any{c.UID}, args...)
	covered, more := by.covers(len(args) + 1)
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+documentColumns+`, `+covered+`
		FROM search_documents d WHERE d.collection = $1 AND d.id IN (`+in+`) AND `+s.live(), append(args, more...)...)
	if err != nil {
		return nil, fmt.Errorf("search store: read documents: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	out = make(map[string]Existing, len(ids))
	for rows.Next() {
		var covered bool
		d, err := scanDocument(rows, &covered)
		if err != nil {
			return nil, fmt.Errorf("search store: read documents: %w", err)
		}
		out[d.ID] = Existing{Document: d, Hidden: !covered}
	}
	return out, rows.Err()
}

func (s *Store) documents(ctx context.Context, where string, args ...any) (out []Document, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+documentColumns+` FROM search_documents d `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("search store: read documents: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		d, err := scanDocument(rows)
		if err != nil {
			return nil, fmt.Errorf("search store: read documents: %w", err)
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// Ref names one chunk of one version.
type Ref struct {
	No     int64
	Number int
}

// noVersion is a number that no version has.
const noVersion = -1

// Passage is a chunk with what a hit shows of its document.
type Passage struct {
	DocumentID string
	Title      string
	Metadata   []byte
	CreateTime time.Time
	UpdateTime time.Time
	Chunk      Chunk // without the vector
}

// Passages returns the chunks of c's embedding generation that are still there, by reference. A version
// that was replaced meanwhile is missing.
func (s *Store) Passages(ctx context.Context, c Collection, refs []Ref) (out map[Ref]Passage, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	refs = padded(slices.Clone(refs), Ref{No: noVersion})
	args := make([]any, 0, 2+2*len(refs))
	args = append(args, c.UID, c.EmbeddingGeneration)
	for _, r := range refs {
		args = append(args, r.No, r.Number)
	}
	rows, err := s.often.QueryContext(ctx, passagesQuery(len(refs)), args...)
	if err != nil {
		return nil, fmt.Errorf("search store: read passages: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	now := s.now()
	out = make(map[Ref]Passage, len(refs))
	for rows.Next() {
		var p Passage
		var r Ref
		var metadata, headings string
		var created, updated, expires int64
		if err := rows.Scan(&p.DocumentID, &p.Title, &metadata, &created, &updated, &expires, &r.No, &r.Number, &p.Chunk.Start, &p.Chunk.End, &p.Chunk.Text, &headings); err != nil {
			return nil, fmt.Errorf("search store: read passages: %w", err)
		}
		if expires != 0 && expires <= now {
			continue
		}
		p.Metadata, p.Chunk.Number, p.Chunk.Headings = []byte(metadata), r.Number, decodeHeadings(headings)
		p.CreateTime, p.UpdateTime = fromNanos(created), fromNanos(updated)
		out[r] = p
	}
	return out, rows.Err()
}

// passagesQuery asks for so many references. SQLite joins in the order in which
// it is told to cross: from the references on, however many there are. Whether a
// document has ended is not asked of it: it would plan anew for every time that it
// is given.
func passagesQuery(refs int) string {
	var list strings.Builder
	for i := range refs {
		if i > 0 {
			list.WriteString(", ")
		}
		// PostgreSQL takes parameters in a list of values for text.
		list.WriteString("(CAST($" + strconv.Itoa(2*i+3) + " AS BIGINT), CAST($" + strconv.Itoa(2*i+4) + " AS INTEGER))")
	}
	return `
		SELECT d.id, d.title, d.metadata, d.create_time, d.update_time, d.expire_time, c.no, c.number, c.start_offset, c.end_offset, c.text, c.headings
		FROM (VALUES ` + list.String() + `) v CROSS JOIN search_chunks c CROSS JOIN search_documents d
		WHERE c.collection = $1 AND c.embedding_generation = $2 AND c.no = v.column1 AND c.number = v.column2
			AND d.collection = c.collection AND d.no = c.no`
}
