package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

const (
	columns = `time_us, id, request_id, tenant, subject, key_id, method, resource, decision, reason,
	duration_us, address, served_by, arm, prompt_tokens, completion_tokens, experiment`
	columnCount = 17
	// rowsAtOnce is how many records one statement writes: few statements, and
	// far below the bounds on parameters of both databases.
	rowsAtOnce = 64
	// pruneAtOnce bounds how long pruning holds the table.
	pruneAtOnce = 5000
)

// SQLSink keeps records in a table of SQLite or PostgreSQL, on the tables of
// package schema.
type SQLSink struct{ db *sqldb.DB }

// NewSQLSink returns a sink on db, which stays the caller's to close.
func NewSQLSink(db *sqldb.DB) *SQLSink { return &SQLSink{db: db} }

// Write keeps batch in one transaction. A record that is there already stays.
func (s *SQLSink) Write(ctx context.Context, batch []Record) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for rest := batch; len(rest) > 0; {
			n := min(len(rest), rowsAtOnce)
			if _, err := tx.ExecContext(ctx, insertStatement(n), values(rest[:n])...); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("audit: write: %w", err)
	}
	return nil
}

func insertStatement(rows int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO edge_audit (" + columns + ") VALUES ")
	for i := range rows * columnCount {
		switch {
		case i == 0:
			b.WriteString("($")
		case i%columnCount == 0:
			b.WriteString("), ($")
		default:
			b.WriteString(", $")
		}
		b.WriteString(strconv.Itoa(i + 1))
	}
	b.WriteString(") ON CONFLICT DO NOTHING")
	return b.String()
}

func values(recs []Record) []any {
	out := make([]any, 0, len(recs)*columnCount)
	for _, r := range recs {
		out = append(out, r.Time.UnixMicro(), r.ID, r.RequestID, r.Tenant, r.Subject, r.KeyID, r.Method,
			clean(r.Resource), r.Decision, r.Reason, r.Duration.Microseconds(), r.Address, r.ServedBy, r.Arm,
			r.PromptTokens, r.CompletionTokens, r.Experiment)
	}
	return out
}

// clean makes text from outside one that PostgreSQL takes: a record must not be
// refused for what its caller wrote.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// List returns a page of records, newest first.
func (s *SQLSink) List(ctx context.Context, q Query) (out []Record, err error) {
	query, args := selectStatement(q)
	rows, err := s.db.Reader().QueryContext(ctx, query, args...)
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

func selectStatement(q Query) (string, []any) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if q.Tenant != "" {
		where = append(where, "tenant = "+arg(q.Tenant))
	}
	if q.RequestID != "" {
		where = append(where, "request_id = "+arg(q.RequestID))
	}
	if q.Before != (Position{}) {
		where = append(where, "(time_us, id) < ("+arg(q.Before.TimeMicros)+", "+arg(q.Before.ID)+")")
	}
	query := "SELECT " + columns + " FROM edge_audit"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return query + " ORDER BY time_us DESC, id DESC LIMIT " + arg(q.Limit), args
}

func scan(rows *sql.Rows) (Record, error) {
	var r Record
	var at, took int64
	err := rows.Scan(&at, &r.ID, &r.RequestID, &r.Tenant, &r.Subject, &r.KeyID, &r.Method, &r.Resource, &r.Decision,
		&r.Reason, &took, &r.Address, &r.ServedBy, &r.Arm, &r.PromptTokens, &r.CompletionTokens, &r.Experiment)
	r.Time, r.Duration = time.UnixMicro(at).UTC(), time.Duration(took)*time.Microsecond
	return r, err
}

// Prune deletes records from before t, and returns how many. It works in small
// steps, so that writing is not held up.
func (s *SQLSink) Prune(ctx context.Context, t time.Time) (int64, error) {
	var total int64
	for {
		var n int64
		err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
			res, err := tx.ExecContext(ctx, `DELETE FROM edge_audit WHERE (time_us, id) IN (
				SELECT time_us, id FROM edge_audit WHERE time_us < $1 ORDER BY time_us LIMIT $2)`, t.UnixMicro(), pruneAtOnce)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return total, fmt.Errorf("audit: prune: %w", err)
		}
		total += n
		if n < pruneAtOnce {
			return total, nil
		}
	}
}
