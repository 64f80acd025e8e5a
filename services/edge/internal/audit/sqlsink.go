package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/auditproof"
)

const (
	columns = `time_us, id, request_id, tenant, subject, key_id, method, resource, decision, reason,
	duration_us, address, served_by, arm, prompt_tokens, completion_tokens, experiment,
	policy, rule, findings, review, documents, cache, content_sha256, content_missing, cost_micros, currency, decisions, chain, sequence, previous_hash, hash`
)

// SQLSink keeps records in a table of SQLite or PostgreSQL, on the tables of
// package schema.
type SQLSink struct {
	db   *sqldb.DB
	read querier
	rows *sqldb.Inserter
}

// querier is what reading needs: the database, or one state of it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// NewSQLSink returns a sink on db, which stays the caller's to close.
func NewSQLSink(db *sqldb.DB) *SQLSink {
	// What a call that went well has not, without an experiment, a finding or its content.
	rows := db.NewInserter("edge_audit", columns, "ON CONFLICT DO NOTHING").
		Mostly("", "reason", "experiment", "arm", "findings", "documents", "content_sha256").
		Mostly(int64(0), "review", "content_missing").
		Alike("tenant", "subject", "key_id", "method", "resource", "decision", "address", "served_by", "policy", "rule", "cache", "currency", "chain")
	return &SQLSink{db: db, read: db.Reader(), rows: rows}
}

// Snapshot calls fn with a sink that reads one state of the database.
func (s *SQLSink) Snapshot(ctx context.Context, fn func(context.Context, *SQLSink) error) error {
	return s.db.InSnapshot(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return fn(ctx, &SQLSink{db: s.db, read: tx, rows: s.rows})
	})
}

// Write keeps batch in one transaction. A record that is there already stays.
func (s *SQLSink) Write(ctx context.Context, batch []Record) error {
	return s.write(ctx, batch, func(context.Context, *sql.Tx) error { return nil })
}

// write keeps batch in the transaction of what before does.
func (s *SQLSink) write(ctx context.Context, batch []Record, before func(context.Context, *sql.Tx) error) error {
	if err := s.rows.Prepare(ctx); err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := before(ctx, tx); err != nil {
			return err
		}
		var last linked
		_, err := s.rows.Insert(ctx, tx, len(batch), func(row *sqldb.Row, n int) { last.addValues(row, &batch[n]) })
		return err
	})
	if err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	return nil
}

// linked is a record's hash, which the next record of the chain has, too, and its text.
type linked struct {
	hash auditproof.Hash
	text string
}

// addValues tells what the columns have of a record, as the types that databases know.
func (l *linked) addValues(row *sqldb.Row, r *Record) {
	row.Number(r.Time.UnixMicro())
	row.Text(r.ID, r.RequestID, r.Tenant, r.Subject, r.KeyID, r.Method, auditproof.Clean(r.Resource), r.Decision, r.Reason)
	row.Number(r.Duration.Microseconds())
	row.Text(r.Address, r.ServedBy, r.Arm)
	row.Number(int64(r.PromptTokens), int64(r.CompletionTokens))
	row.Text(r.Experiment, r.Policy, r.Rule, listText(r.Findings))
	row.Number(number(r.Review))
	row.Text(listText(r.Documents), r.Cache, hashText(r.Content))
	row.Number(number(r.ContentMissing), r.CostMicros)
	row.Text(r.Currency)
	row.Add(bytesOrNull(r.Decisions))
	row.Text(r.Chain)
	row.Number(r.Sequence)
	previous := l.text
	if r.Previous != l.hash {
		previous = hashText(r.Previous)
	}
	l.hash, l.text = r.Hash, hashText(r.Hash)
	row.Text(previous, l.text)
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

func number(b bool) int64 {
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
