package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Readable returns which of the versions are there and may be read by one of the
// principals. A version's access list never changes, so neither does the answer
// until it has ended or is replaced.
func (s *Store) Readable(ctx context.Context, c Collection, principals []string, versions []int64) (out map[int64]bool, err error) {
	out = make(map[int64]bool, len(versions))
	if len(versions) == 0 {
		return out, nil
	}
	args := []any{c.UID}
	var list strings.Builder
	for _, no := range versions {
		if len(args) > 1 {
			list.WriteString(", ")
		}
		args = append(args, no)
		list.WriteString("$" + strconv.Itoa(len(args)))
	}
	in, more := anyOf(len(args)+1, principals)
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT d.no FROM search_documents d
		WHERE d.collection = $1 AND `+s.live()+` AND d.no IN (`+list.String()+`) AND `+readable(in), append(args, more...)...)
	if err != nil {
		return nil, fmt.Errorf("search store: read who may read: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var no int64
		if err := rows.Scan(&no); err != nil {
			return nil, fmt.Errorf("search store: read who may read: %w", err)
		}
		out[no] = true
	}
	return out, rows.Err()
}

// Vectors returns the vectors that c's embedding generation has of chunks that are
// still there, by reference.
func (s *Store) Vectors(ctx context.Context, c Collection, refs []Ref) (out map[Ref][]float32, err error) {
	out = make(map[Ref][]float32, len(refs))
	if len(refs) == 0 {
		return out, nil
	}
	args := []any{c.UID, c.EmbeddingGeneration}
	var list strings.Builder
	for _, r := range refs {
		if len(args) > 2 {
			list.WriteString(", ")
		}
		args = append(args, r.No, r.Number)
		// PostgreSQL takes parameters in a list of values for text.
		fmt.Fprintf(&list, "(CAST($%d AS BIGINT), CAST($%d AS INTEGER))", len(args)-1, len(args))
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT no, number, vector FROM search_chunks
		WHERE collection = $1 AND embedding_generation = $2 AND (no, number) IN (VALUES `+list.String()+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("search store: read vectors: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r Ref
		var raw []byte
		if err := rows.Scan(&r.No, &r.Number, &raw); err != nil {
			return nil, fmt.Errorf("search store: read vectors: %w", err)
		}
		if out[r], err = decodeVector(raw); err != nil {
			return nil, err
		}
	}
	return out, rows.Err()
}
