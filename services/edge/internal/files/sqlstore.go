package files

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

var _ Store = (*SQLStore)(nil)

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

const columns = `id, tenant, subject, filename, purpose, bytes, chunks, sha256, create_time, expire_time`

// turn runs fn once the tenant's totals are this transaction's: rivals wait.
func (s *SQLStore) turn(ctx context.Context, what string, fn func(ctx context.Context, tx *sql.Tx) error) error {
	if err := s.db.InTurn(ctx, fn); err != nil {
		return fmt.Errorf("files: %s: %w", what, err)
	}
	return nil
}

// Begin implements Store.
func (s *SQLStore) Begin(ctx context.Context, f File, room Room) error {
	return s.turn(ctx, "begin", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO edge_file_totals (tenant, files, bytes) VALUES ($1, 0, 0) ON CONFLICT (tenant) DO NOTHING`, f.Owner.Tenant); err != nil {
			return err
		}
		if err := one(ctx, tx, ErrTooMany, `UPDATE edge_file_totals SET files = files + 1 WHERE tenant = $1 AND files < $2`, f.Owner.Tenant, room.Files); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_files (`+columns+`, ready) VALUES ($1, $2, $3, $4, $5, 0, 0, '', $6, $7, 0)`,
			f.ID, f.Owner.Tenant, f.Owner.Subject, f.Filename, f.Purpose, sqldb.Micros(f.CreateTime), sqldb.Micros(f.ExpireTime))
		return err
	})
}

// Append implements Store.
func (s *SQLStore) Append(ctx context.Context, f File, seq int64, data []byte, room Room) error {
	return s.turn(ctx, "append", func(ctx context.Context, tx *sql.Tx) error {
		n := int64(len(data))
		if err := one(ctx, tx, ErrFull, `UPDATE edge_file_totals SET bytes = bytes + $2 WHERE tenant = $1 AND bytes <= $3`, f.Owner.Tenant, n, room.Bytes-n); err != nil {
			return err
		}
		if err := one(ctx, tx, ErrNotFound, `UPDATE edge_files SET bytes = bytes + $2, chunks = chunks + 1 WHERE id = $1 AND ready = 0 AND chunks = $3`, f.ID, n, seq); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_file_chunks (file, seq, data) VALUES ($1, $2, $3)`, f.ID, seq, data)
		return err
	})
}

// Finish implements Store.
func (s *SQLStore) Finish(ctx context.Context, f File) error {
	return s.turn(ctx, "finish", func(ctx context.Context, tx *sql.Tx) error { return FinishIn(ctx, tx, f) })
}

// FinishIn is Finish within a transaction of the caller's.
func FinishIn(ctx context.Context, tx *sql.Tx, f File) error {
	return one(ctx, tx, ErrNotFound, `UPDATE edge_files SET ready = 1, sha256 = $2, filename = $3, purpose = $4, create_time = $5, expire_time = $6 WHERE id = $1 AND ready = 0`,
		f.ID, f.SHA256, f.Filename, f.Purpose, sqldb.Micros(f.CreateTime), sqldb.Micros(f.ExpireTime))
}

// Abandon implements Store.
func (s *SQLStore) Abandon(ctx context.Context, id string) error {
	return s.turn(ctx, "abandon", func(ctx context.Context, tx *sql.Tx) error {
		var tenant string
		err := tx.QueryRowContext(ctx, `SELECT tenant FROM edge_files WHERE id = $1 AND ready = 0`, id).Scan(&tenant)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return remove(ctx, tx, tenant, id)
	})
}

// Get implements Store.
func (s *SQLStore) Get(ctx context.Context, o Owner, id string, now time.Time) (File, error) {
	row := s.db.Reader().QueryRowContext(ctx, `SELECT `+columns+` FROM edge_files
		WHERE id = $1 AND tenant = $2 AND subject = $3 AND ready = 1 AND (expire_time = 0 OR expire_time > $4)`, id, o.Tenant, o.Subject, sqldb.Micros(now))
	f, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return f, ErrNotFound
	}
	if err != nil {
		return f, fmt.Errorf("files: read: %w", err)
	}
	return f, nil
}

// List implements Store.
func (s *SQLStore) List(ctx context.Context, q Query) ([]File, error) {
	order, beyond := "DESC", "<"
	if q.Oldest {
		order, beyond = "ASC", ">"
	}
	args := []any{q.Owner.Tenant, q.Owner.Subject, sqldb.Micros(q.Now), q.Purpose, q.Limit}
	after := ""
	if q.After != "" {
		f, err := s.Get(ctx, q.Owner, q.After, q.Now)
		if err != nil {
			return nil, err
		}
		after = ` AND (create_time ` + beyond + ` $6 OR create_time = $6 AND id ` + beyond + ` $7)`
		args = append(args, sqldb.Micros(f.CreateTime), f.ID)
	}
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+columns+` FROM edge_files WHERE tenant = $1 AND subject = $2 AND ready = 1
		AND (expire_time = 0 OR expire_time > $3) AND ($4 = '' OR purpose = $4)`+after+` ORDER BY create_time `+order+`, id `+order+` LIMIT $5`, args...)
	if err != nil {
		return nil, fmt.Errorf("files: list: %w", err)
	}
	defer rows.Close()
	var out []File
	for rows.Next() {
		f, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("files: list: %w", err)
		}
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("files: list: %w", err)
	}
	return out, nil
}

// Piece implements Store.
func (s *SQLStore) Piece(ctx context.Context, id string, seq int64) (data []byte, err error) {
	err = s.db.Reader().QueryRowContext(ctx, `SELECT data FROM edge_file_chunks WHERE file = $1 AND seq = $2`, id, seq).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("files: read: %w", err)
	}
	return data, nil
}

const inUse = `EXISTS (SELECT 1 FROM edge_batches b WHERE b.input_file = edge_files.id AND b.unfinished = 1)`

// Delete implements Store.
func (s *SQLStore) Delete(ctx context.Context, o Owner, id string, now time.Time) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var used bool
		err := tx.QueryRowContext(ctx, `SELECT `+inUse+` FROM edge_files
			WHERE id = $1 AND tenant = $2 AND subject = $3 AND ready = 1 AND (expire_time = 0 OR expire_time > $4)`, id, o.Tenant, o.Subject, sqldb.Micros(now)).Scan(&used)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return err
		case used:
			return ErrInUse
		}
		return remove(ctx, tx, o.Tenant, id)
	})
	if err != nil {
		return fmt.Errorf("files: delete: %w", err)
	}
	return nil
}

// Purge implements Store. One file in a transaction: they are large.
func (s *SQLStore) Purge(ctx context.Context, now time.Time, limit int) (int, error) {
	for n := range limit {
		found := true
		err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			var id, tenant string
			err := tx.QueryRowContext(ctx, `SELECT id, tenant FROM edge_files WHERE expire_time > 0 AND expire_time <= $1 AND NOT `+inUse+`
				ORDER BY expire_time LIMIT 1`, sqldb.Micros(now)).Scan(&id, &tenant)
			if found = !errors.Is(err, sql.ErrNoRows); !found {
				return nil
			}
			if err != nil {
				return err
			}
			return remove(ctx, tx, tenant, id)
		})
		if err != nil {
			return n, fmt.Errorf("files: purge: %w", err)
		}
		if !found {
			return n, nil
		}
	}
	return limit, nil
}

// remove deletes a file with its pieces, and gives its room back.
func remove(ctx context.Context, tx *sql.Tx, tenant, id string) error {
	var bytes int64
	err := tx.QueryRowContext(ctx, `DELETE FROM edge_files WHERE id = $1 RETURNING bytes`, id).Scan(&bytes)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM edge_file_chunks WHERE file = $1`, id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE edge_file_totals SET files = files - 1, bytes = bytes - $2 WHERE tenant = $1`, tenant, bytes)
	return err
}

// one runs a statement that must change one row; otherwise it returns none.
func one(ctx context.Context, tx *sql.Tx, none error, query string, args ...any) error {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return none
	}
	return err
}

func scan(row interface{ Scan(dest ...any) error }) (File, error) {
	var f File
	var created, expires int64
	err := row.Scan(&f.ID, &f.Owner.Tenant, &f.Owner.Subject, &f.Filename, &f.Purpose, &f.Bytes, &f.Chunks, &f.SHA256, &created, &expires)
	f.CreateTime, f.ExpireTime = sqldb.FromMicros(created), sqldb.FromMicros(expires)
	return f, err
}
