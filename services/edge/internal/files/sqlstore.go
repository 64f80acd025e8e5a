package files

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema; pieces
// lie there, too, or in another place.
type SQLStore struct {
	db     *sqldb.DB
	place  string // of new files
	places map[string]Contents
}

var _ Store = (*SQLStore)(nil)

// NewSQLStore returns a store on db, which stays the caller's to close. New files go to
// the first of places, and without any into rows of db; the others' files stay.
func NewSQLStore(db *sqldb.DB, places ...Place) *SQLStore {
	s := &SQLStore{db: db, places: make(map[string]Contents)}
	for i, p := range places {
		if i == 0 {
			s.place = p.Name
		}
		if p.Contents != nil {
			s.places[p.Name] = p.Contents
		}
	}
	return s
}

const columns = `id, tenant, subject, filename, purpose, bytes, chunks, sha256, create_time, expire_time, place`

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
		_, err := tx.ExecContext(ctx, `INSERT INTO edge_files (`+columns+`, ready) VALUES ($1, $2, $3, $4, $5, 0, 0, '', $6, $7, $8, 0)`,
			f.ID, f.Owner.Tenant, f.Owner.Subject, f.Filename, f.Purpose, sqldb.Micros(f.CreateTime), sqldb.Micros(f.ExpireTime), s.place)
		return err
	})
}

// Append implements Store. A piece of another place is counted before it is put: what
// lies there is never more than is known.
func (s *SQLStore) Append(ctx context.Context, f File, seq int64, data []byte, room Room) error {
	var place string
	err := s.turn(ctx, "append", func(ctx context.Context, tx *sql.Tx) error {
		n := int64(len(data))
		if err := one(ctx, tx, ErrFull, `UPDATE edge_file_totals SET bytes = bytes + $2 WHERE tenant = $1 AND bytes <= $3`, f.Owner.Tenant, n, room.Bytes-n); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, `UPDATE edge_files SET bytes = bytes + $2, chunks = chunks + 1 WHERE id = $1 AND ready = 0 AND chunks = $3 RETURNING place`,
			f.ID, n, seq).Scan(&place)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || place != PlaceRows {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_file_chunks (file, seq, data) VALUES ($1, $2, $3)`, f.ID, seq, data)
		return err
	})
	if err != nil || place == PlaceRows {
		return err
	}
	c, err := s.contents(place)
	if err != nil {
		return err
	}
	return c.Put(ctx, f.ID, seq, data)
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
func (s *SQLStore) Piece(ctx context.Context, f File, seq int64) (data []byte, err error) {
	if f.Place != PlaceRows {
		c, err := s.contents(f.Place)
		if err != nil {
			return nil, err
		}
		if data, err = c.Get(ctx, f.ID, seq); err != nil {
			return nil, err
		}
		if int64(len(data)) != pieceLength(f, seq) {
			return nil, ErrDamaged
		}
		return data, nil
	}
	err = s.db.Reader().QueryRowContext(ctx, `SELECT data FROM edge_file_chunks WHERE file = $1 AND seq = $2`, f.ID, seq).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("files: read: %w", err)
	}
	return data, nil
}

// Known reports whether db knows of files in a place.
func Known(ctx context.Context, db *sqldb.DB, place string) (bool, error) {
	var n int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM edge_files WHERE place = $1 LIMIT 1) AS f`, place).Scan(&n); err != nil {
		return false, fmt.Errorf("files: %w", err)
	}
	return n > 0, nil
}

// contents returns what keeps the files of a place.
func (s *SQLStore) contents(place string) (Contents, error) {
	c, ok := s.places[place]
	if !ok {
		return nil, fmt.Errorf("files: pieces lie in the %s, which the configuration does not name", place)
	}
	return c, nil
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
	err := row.Scan(&f.ID, &f.Owner.Tenant, &f.Owner.Subject, &f.Filename, &f.Purpose, &f.Bytes, &f.Chunks, &f.SHA256, &created, &expires, &f.Place)
	f.CreateTime, f.ExpireTime = sqldb.FromMicros(created), sqldb.FromMicros(expires)
	return f, err
}
