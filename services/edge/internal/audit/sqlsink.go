package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/auditproof"
)

const (
	columns = `time_us, id, request_id, tenant, subject, key_id, method, resource, decision, reason,
	duration_us, address, served_by, arm, prompt_tokens, completion_tokens, experiment,
	policy, rule, findings, review, documents, cache, content_sha256, content_missing, cost_micros, currency, decisions, chain, sequence, previous_hash, hash`
	columnCount = 32
	// rowsAtOnce is how many records one statement writes: few round trips, and far
	// below the bound on parameters.
	rowsAtOnce = 64
)

// SQLSink keeps records in a table of SQLite or PostgreSQL, on the tables of
// package schema.
type SQLSink struct {
	db   *sqldb.DB
	read querier

	mu   sync.Mutex
	full *sql.Stmt // inserts rowsAtOnce records; nil: not prepared yet
}

// querier is what reading needs: the database, or one state of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// NewSQLSink returns a sink on db, which stays the caller's to close.
func NewSQLSink(db *sqldb.DB) *SQLSink { return &SQLSink{db: db, read: db.Reader()} }

// Snapshot calls fn with a sink that reads one state of the database.
func (s *SQLSink) Snapshot(ctx context.Context, fn func(context.Context, *SQLSink) error) error {
	return s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, &SQLSink{db: s.db, read: tx}) })
}

// Write keeps batch in one transaction. A record that is there already stays.
func (s *SQLSink) Write(ctx context.Context, batch []Record) error {
	return s.write(ctx, batch, func(context.Context, *sql.Tx) error { return nil })
}

// write keeps batch in the transaction of what before does.
func (s *SQLSink) write(ctx context.Context, batch []Record, before func(context.Context, *sql.Tx) error) error {
	full, err := s.insertFull(ctx)
	if err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := before(ctx, tx); err != nil {
			return err
		}
		return s.insert(ctx, tx, full, batch)
	})
	if err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	return nil
}

func (s *SQLSink) insert(ctx context.Context, tx *sql.Tx, full *sql.Stmt, batch []Record) error {
	for recs := range slices.Chunk(batch, rowsAtOnce) {
		if len(recs) == rowsAtOnce {
			if _, err := tx.StmtContext(ctx, full).ExecContext(ctx, values(recs)...); err != nil { //nolint:sqlclosecheck // the transaction closes it
				return err
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, insertStatement(s.db.Dialect, len(recs)), values(recs)...); err != nil {
			return err
		}
	}
	return nil
}

// insertFull returns what inserts rowsAtOnce records: to read so long a statement
// anew takes longer than carrying it out. It is closed with the database.
func (s *SQLSink) insertFull(ctx context.Context) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full == nil {
		stmt, err := s.db.PrepareContext(ctx, insertStatement(s.db.Dialect, rowsAtOnce))
		if err != nil {
			return nil, err
		}
		s.full = stmt
	}
	return s.full, nil
}

func insertStatement(d sqldb.Dialect, rows int) string {
	return strings.Join([]string{"INSERT INTO edge_audit (", columns, ") VALUES", d.Places(rows, columnCount), "ON CONFLICT DO NOTHING"}, " ")
}

func values(recs []Record) []any {
	out := make([]any, 0, len(recs)*columnCount)
	for _, r := range recs {
		out = append(out, r.Time.UnixMicro(), r.ID, r.RequestID, r.Tenant, r.Subject, r.KeyID, r.Method,
			auditproof.Clean(r.Resource), r.Decision, r.Reason, r.Duration.Microseconds(), r.Address, r.ServedBy, r.Arm,
			r.PromptTokens, r.CompletionTokens, r.Experiment,
			r.Policy, r.Rule, listText(r.Findings), number(r.Review), listText(r.Documents), r.Cache, hashText(r.Content), number(r.ContentMissing), r.CostMicros, r.Currency, bytesOrNull(r.Decisions),
			r.Chain, r.Sequence, hashText(r.Previous), hashText(r.Hash))
	}
	return out
}

// bytesOrNull is how bytes are kept that may not be there.
func bytesOrNull(b []byte) any {
	if len(b) == 0 {
		return nil
	}
	return b
}

// listText is how a list is kept: as JSON, or empty.
func listText(l []string) string {
	if len(l) == 0 {
		return ""
	}
	out, err := json.Marshal(l)
	if err != nil {
		panic(fmt.Sprintf("audit: encode texts: %v", err)) // texts always can be
	}
	return string(out)
}

func readList(s string) (out []string) {
	if s == "" {
		return nil
	}
	if json.Unmarshal([]byte(s), &out) != nil {
		return []string{s} // somebody changed it, which its hash tells
	}
	return out
}

func hashText(h auditproof.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// readHash reads a hash; one that cannot be read is no hash.
func readHash(s string) (h auditproof.Hash) {
	if s == "" || h.UnmarshalText([]byte(s)) != nil {
		return auditproof.Hash{}
	}
	return h
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// List returns a page of records, newest first.
func (s *SQLSink) List(ctx context.Context, q Query) (out []Record, err error) {
	query, args := selectStatement(q)
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("audit: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("audit: list: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("audit: list: %w", err)
	}
	return out, nil
}

func scan(rows *sql.Rows) (Record, error) {
	var r Record
	var at, took int64
	var findings, documents, content, previous, hash string
	var review, missing int
	var decisions []byte
	err := rows.Scan(&at, &r.ID, &r.RequestID, &r.Tenant, &r.Subject, &r.KeyID, &r.Method, &r.Resource, &r.Decision,
		&r.Reason, &took, &r.Address, &r.ServedBy, &r.Arm, &r.PromptTokens, &r.CompletionTokens, &r.Experiment,
		&r.Policy, &r.Rule, &findings, &review, &documents, &r.Cache, &content, &missing, &r.CostMicros, &r.Currency, &decisions, &r.Chain, &r.Sequence, &previous, &hash)
	r.Findings, r.Documents, r.Review, r.ContentMissing = readList(findings), readList(documents), review != 0, missing != 0
	r.Decisions = decisions
	r.Content, r.Previous, r.Hash = readHash(content), readHash(previous), readHash(hash)
	r.Time, r.Duration = time.UnixMicro(at).UTC(), time.Duration(took)*time.Microsecond
	return r, err
}
