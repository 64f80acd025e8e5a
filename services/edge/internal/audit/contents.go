package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// Hold makes room for n bytes of content, and reports whether there is. Where there
// is, AppendWith or Unhold must follow. It never waits.
func (t *Trail) Hold(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held+int64(n) > t.cfg.Content.QueueBytes {
		return false
	}
	t.held += int64(n)
	return true
}

// Unhold gives room back.
func (t *Trail) Unhold(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held -= int64(n)
}

func (t *Trail) release(content *Sealed) {
	if content != nil {
		t.Unhold(len(content.Data))
	}
}

// write gives the sink a batch, with the contents of its records.
func (t *Trail) write(ctx context.Context, batch []Record) error {
	t.mu.Lock()
	var contents []Sealed
	if len(t.contents) > 0 {
		for _, r := range batch {
			if c, ok := t.contents[r.ID]; ok {
				contents = append(contents, c)
			}
		}
	}
	t.mu.Unlock()
	return writeBoth(ctx, t.sink, batch, contents)
}

func writeBoth(ctx context.Context, sink Sink, batch []Record, contents []Sealed) error {
	if len(contents) == 0 {
		return sink.Write(ctx, batch)
	}
	both, ok := sink.(ContentSink)
	if !ok {
		return errors.New("audit: the sink keeps no content") // the configuration does not allow it
	}
	return both.WriteBoth(ctx, batch, contents)
}

// WriteBoth keeps batch and its contents in one transaction.
func (s *SQLSink) WriteBoth(ctx context.Context, batch []Record, contents []Sealed) error {
	return s.write(ctx, batch, func(ctx context.Context, tx *sql.Tx) error {
		for _, c := range contents {
			_, err := tx.ExecContext(ctx, `INSERT INTO edge_audit_contents (record, tenant, subject, key_id, time_us, sealed)
				VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, c.Record, c.Tenant, c.Subject, c.Key, c.Time.UnixMicro(), c.Data)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// ErrNoContent says that no content is kept of a record.
var ErrNoContent = errors.New("audit: no content is kept of this record")

// Content returns the content of a record.
func (s *SQLSink) Content(ctx context.Context, record string) (Sealed, error) {
	c := Sealed{Record: record}
	var at int64
	err := s.read.QueryRowContext(ctx, `SELECT tenant, subject, key_id, time_us, sealed FROM edge_audit_contents WHERE record = $1`, record).
		Scan(&c.Tenant, &c.Subject, &c.Key, &at, &c.Data)
	if errors.Is(err, sql.ErrNoRows) {
		return c, ErrNoContent
	}
	if err != nil {
		return c, fmt.Errorf("audit: read content: %w", err)
	}
	c.Time = sqldb.FromMicros(at)
	return c, nil
}

// Find returns the record of that id, of a tenant; ok is false when there is none.
func (s *SQLSink) Find(ctx context.Context, tenant, id string) (rec Record, ok bool, err error) {
	found, err := s.List(ctx, Query{Tenant: tenant, Filter: Filter{sql: "id = $", args: []any{id}}, Limit: 1})
	if err != nil || len(found) == 0 {
		return Record{}, false, err
	}
	return found[0], true, nil
}

// ContentReader reads contents, and the records that they belong to.
type ContentReader struct {
	*SQLSink
	trail *Trail
}

// Contents returns what reads the contents that sink keeps.
func (t *Trail) Contents(sink *SQLSink) *ContentReader {
	return &ContentReader{SQLSink: sink, trail: t}
}

// Find returns a record, one that still waits included.
func (r *ContentReader) Find(ctx context.Context, tenant, id string) (Record, bool, error) {
	if err := r.trail.Flush(ctx); err != nil {
		return Record{}, false, err
	}
	return r.SQLSink.Find(ctx, tenant, id)
}

// contentsAtOnce bounds how long deleting contents holds their table.
const contentsAtOnce = 500

// PruneContents deletes contents from before t whose records are not kept any more,
// and those whose keys were destroyed.
func (s *SQLSink) PruneContents(ctx context.Context, t time.Time) (int64, error) {
	old, err := s.deleteContents(ctx, `time_us < $1 AND NOT EXISTS (
		SELECT 1 FROM edge_audit a WHERE a.id = c.record AND a.time_us = c.time_us)`, t.UnixMicro())
	if err != nil {
		return old, err
	}
	erased, err := s.DeleteErased(ctx)
	return old + erased, err
}

// DeleteErased deletes the contents whose keys were destroyed, which nobody can read
// any more.
func (s *SQLSink) DeleteErased(ctx context.Context) (int64, error) {
	return s.deleteContents(ctx, `key_id IN (SELECT k.id FROM edge_audit_content_keys k WHERE k.erase_time > 0)`)
}

func (s *SQLSink) deleteContents(ctx context.Context, where string, args ...any) (int64, error) {
	var total int64
	for {
		var n int64
		err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM edge_audit_contents WHERE record IN (
				SELECT c.record FROM edge_audit_contents c WHERE %s LIMIT %d)`, where, contentsAtOnce), args...)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("audit: delete contents: %w", err)
		}
		if total += n; n < contentsAtOnce {
			return total, nil
		}
	}
}

// checkContents compares the contents of a chain's records with the hashes there. One
// that is not there must have been erased.
func (s *SQLSink) checkContents(ctx context.Context, chain string, find func(auditproof.Finding)) error {
	for from := int64(0); ; {
		n, last, err := s.checkContentsFrom(ctx, chain, from, find)
		if err != nil {
			return fmt.Errorf("audit: read the contents of chain %s: %w", chain, err)
		}
		if n < contentPage {
			return nil
		}
		from = last + 1
	}
}

const contentPage = 50

func (s *SQLSink) checkContentsFrom(ctx context.Context, chain string, from int64, find func(auditproof.Finding)) (n int, last int64, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT a.sequence, a.id, a.content_sha256, c.sealed, EXISTS (
			SELECT 1 FROM edge_audit_content_keys k WHERE k.tenant = a.tenant AND k.subject = a.subject AND k.erase_time >= a.time_us)
		FROM edge_audit a LEFT JOIN edge_audit_contents c ON c.record = a.id
		WHERE a.chain = $1 AND a.chain <> '' AND a.sequence >= $2 AND a.content_sha256 <> '' ORDER BY a.sequence LIMIT $3`, chain, from, contentPage)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ; rows.Next(); n++ {
		var id, hash string
		var sealed []byte
		var erased bool
		if err := rows.Scan(&last, &id, &hash, &sealed, &erased); err != nil {
			return n, last, err
		}
		f := auditproof.Finding{Chain: chain, From: last, To: last, ID: id}
		switch {
		case sealed == nil && !erased:
			f.Kind, f.Detail = auditproof.Removed, "its content is not there, and was not erased"
		case sealed != nil && auditproof.Hash(sha256.Sum256(sealed)) != readHash(hash):
			f.Kind, f.Detail = auditproof.Changed, "its content is not what was recorded"
		default:
			continue
		}
		find(f)
	}
	return n, last, rows.Err()
}
