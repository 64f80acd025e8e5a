package store

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strconv"
	"strings"
)

// exceptPage is how many documents are read at a time, fewer when they have many
// chunks: what is open on one connection cannot be read while something else is.
const exceptPage = 256

// versionsExcept reads all versions up to a number, as c's embedding generation
// has them, those that are kept without what their chunks hold.
func versionsExcept(ctx context.Context, tx *sql.Tx, c Collection, through int64, kept func(no int64, chunks int) bool) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for after := int64(0); ; {
			page, more, err := documentsAfter(ctx, tx, c, after, through)
			if err == nil {
				err = addChunks(ctx, tx, c, page, kept)
			}
			if err != nil {
				yield(Version{}, err)
				return
			}
			for _, v := range page {
				after = v.No
				if !yield(v, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// documentsAfter returns the next page of documents, and whether there may be
// more.
func documentsAfter(ctx context.Context, tx *sql.Tx, c Collection, after, through int64) (out []Version, more bool, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+documentColumns+` FROM search_documents d
		WHERE d.collection = $1 AND d.no > $2 AND d.no <= $3 ORDER BY d.no LIMIT $4`, c.UID, after, through, exceptPage)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for chunks := 0; rows.Next(); {
		d, err := scanDocument(rows)
		if err != nil {
			return nil, false, err
		}
		out = append(out, Version{Document: d, Principals: PrincipalsOf(c.Tenant, d)})
		if chunks += d.ChunkCount; chunks >= pageChunks {
			return out, true, nil
		}
	}
	return out, len(out) == exceptPage, rows.Err()
}

// addChunks gives versions their chunks: numbers to those that are kept, and to
// the others what there is.
func addChunks(ctx context.Context, tx *sql.Tx, c Collection, page []Version, kept func(no int64, chunks int) bool) (err error) {
	missing := make(map[int64]*Version)
	args := []any{c.UID, c.EmbeddingGeneration}
	var in strings.Builder
	for i := range page {
		v := &page[i]
		if v.Kept = kept(v.No, v.ChunkCount); v.Kept {
			v.Chunks = make([]Chunk, v.ChunkCount)
			for n := range v.Chunks {
				v.Chunks[n].Number = n
			}
			continue
		}
		missing[v.No] = v
		args = append(args, v.No)
		if in.Len() > 0 {
			in.WriteString(", ")
		}
		in.WriteString("$" + strconv.Itoa(len(args)))
	}
	if len(missing) == 0 {
		return nil
	}
	//nolint:gosec // only placeholders are put in
	rows, err := tx.QueryContext(ctx, `
		SELECT no, number, start_offset, end_offset, terms, text, vector, headings FROM search_chunks
		WHERE collection = $1 AND embedding_generation = $2 AND no IN (`+in.String()+`) ORDER BY no, number`, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var no int64
		var ch Chunk
		var raw []byte
		var headings string
		if err := rows.Scan(&no, &ch.Number, &ch.Start, &ch.End, &ch.Terms, &ch.Text, &raw, &headings); err != nil {
			return err
		}
		if ch.Vector, err = decodeVector(raw); err != nil {
			return err
		}
		ch.Headings = decodeHeadings(headings)
		missing[no].Chunks = append(missing[no].Chunks, ch)
	}
	return rows.Err()
}
