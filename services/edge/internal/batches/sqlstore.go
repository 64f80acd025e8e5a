package batches

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema. Files
// are in the same database, so that a batch ends with its files in one transaction.
type SQLStore struct{ db *sqldb.DB }

var _ Store = (*SQLStore)(nil)

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

const columns = `id, tenant, subject, key_id, address, endpoint, input_file, output_file, error_file, output_seconds, metadata, status, problems,
	total, completed, failed, create_time, expire_time, in_progress_time, finalizing_time, cancelling_time, end_time`

// in lists statuses for SQL: they are constants.
func in(statuses []Status) string {
	var out []string
	for _, s := range statuses {
		out = append(out, "'"+string(s)+"'")
	}
	return "(" + strings.Join(out, ", ") + ")"
}

// Create implements Requests.
func (s *SQLStore) Create(ctx context.Context, b Batch, most int) error {
	notes, err := json.Marshal(b.Metadata)
	if err != nil {
		return fmt.Errorf("batches: create: %w", err)
	}
	err = s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var there, unfinished int
		err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_files WHERE id = $1 AND tenant = $2 AND subject = $3 AND ready = 1 AND purpose = $4
			AND (expire_time = 0 OR expire_time > $5)`, b.InputFile, b.Owner.Tenant, b.Owner.Subject, files.PurposeBatch, sqldb.Micros(b.CreateTime)).Scan(&there)
		if err != nil {
			return err
		}
		if there == 0 {
			return files.ErrNotFound
		}
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_batches WHERE tenant = $1 AND unfinished = 1`, b.Owner.Tenant).Scan(&unfinished); err != nil {
			return err
		}
		if unfinished >= most {
			return ErrTooMany
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_batches (`+columns+`, unfinished, holder, fence, lease_time, turn_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', '', $8, $9, $10, '[]', 0, 0, 0, $11, $12, 0, 0, 0, 0, 1, '', 0, 0, 0)`,
			b.ID, b.Owner.Tenant, b.Owner.Subject, b.KeyID, b.Address, b.Endpoint, b.InputFile, int64(b.OutputTTL/time.Second), string(notes),
			string(Validating), sqldb.Micros(b.CreateTime), sqldb.Micros(b.ExpireTime))
		return err
	})
	if err != nil {
		return fmt.Errorf("batches: create: %w", err)
	}
	return nil
}

// Get implements Requests.
func (s *SQLStore) Get(ctx context.Context, o files.Owner, id string) (Batch, error) {
	b, err := scan(s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+` FROM edge_batches WHERE id = $1 AND tenant = $2 AND subject = $3`, id, o.Tenant, o.Subject))
	if err != nil {
		return b, fmt.Errorf("batches: read: %w", err)
	}
	return b, nil
}

// List implements Requests.
func (s *SQLStore) List(ctx context.Context, o files.Owner, after string, limit int) ([]Batch, error) {
	args := []any{o.Tenant, o.Subject, limit}
	beyond := ""
	if after != "" {
		b, err := s.Get(ctx, o, after)
		if err != nil {
			return nil, err
		}
		beyond = ` AND (create_time < $4 OR create_time = $4 AND id < $5)`
		args = append(args, sqldb.Micros(b.CreateTime), b.ID)
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+columns+` FROM edge_batches WHERE tenant = $1 AND subject = $2`+beyond+`
		ORDER BY create_time DESC, id DESC LIMIT $3`, args...)
	if err != nil {
		return nil, fmt.Errorf("batches: list: %w", err)
	}
	defer rows.Close()
	var out []Batch
	for rows.Next() {
		b, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("batches: list: %w", err)
		}
		out = append(out, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("batches: list: %w", err)
	}
	return out, nil
}

// Cancel implements Requests.
func (s *SQLStore) Cancel(ctx context.Context, o files.Owner, id string, now time.Time) (Batch, error) {
	result, err := s.db.ExecContext(ctx, `UPDATE edge_batches SET status = $4, cancelling_time = $5
		WHERE id = $1 AND tenant = $2 AND subject = $3 AND status IN `+in(before(Cancelling)), id, o.Tenant, o.Subject, string(Cancelling), sqldb.Micros(now))
	var n int64
	if err == nil {
		n, err = result.RowsAffected()
	}
	if err != nil {
		return Batch{}, fmt.Errorf("batches: cancel: %w", err)
	}
	b, err := s.Get(ctx, o, id)
	if err == nil && n == 0 && b.Status != Cancelling && b.Status != Cancelled {
		err = ErrStatus
	}
	return b, err
}

func scan(row interface{ Scan(dest ...any) error }, more ...any) (Batch, error) {
	var b Batch
	var seconds int64
	var notes, problems, status string
	var created, expires, progress, finalizing, cancelling, ended int64
	err := row.Scan(append([]any{
		&b.ID, &b.Owner.Tenant, &b.Owner.Subject, &b.KeyID, &b.Address, &b.Endpoint, &b.InputFile, &b.OutputFile, &b.ErrorFile, &seconds, &notes,
		&status, &problems, &b.Total, &b.Completed, &b.Failed, &created, &expires, &progress, &finalizing, &cancelling, &ended,
	}, more...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return b, ErrNotFound
	}
	if err == nil {
		err = errors.Join(json.Unmarshal([]byte(notes), &b.Metadata), json.Unmarshal([]byte(problems), &b.Problems))
	}
	b.Status, b.OutputTTL = Status(status), time.Duration(seconds)*time.Second
	b.CreateTime, b.ExpireTime, b.InProgressTime = sqldb.FromMicros(created), sqldb.FromMicros(expires), sqldb.FromMicros(progress)
	b.FinalizingTime, b.CancellingTime, b.EndTime = sqldb.FromMicros(finalizing), sqldb.FromMicros(cancelling), sqldb.FromMicros(ended)
	return b, err
}
