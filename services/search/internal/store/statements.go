package store

import (
	"context"
	"database/sql"
	"errors"
)

// statements is a transaction in which a statement that is made again is
// prepared: to parse it takes SQLite as long as to execute it.
type statements struct {
	*sql.Tx
	made     map[string]bool
	prepared map[string]*sql.Stmt
}

func newStatements(tx *sql.Tx) *statements {
	return &statements{Tx: tx, made: make(map[string]bool), prepared: make(map[string]*sql.Stmt)}
}

// ExecContext is that of the transaction.
func (s *statements) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := s.again(ctx, query) //nolint:sqlclosecheck // close closes it
	switch {
	case err != nil:
		return nil, err
	case stmt == nil:
		return s.Tx.ExecContext(ctx, query, args...)
	default:
		return stmt.ExecContext(ctx, args...)
	}
}

// QueryRowContext is that of the transaction.
func (s *statements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt, err := s.again(ctx, query); err == nil && stmt != nil { //nolint:sqlclosecheck // close closes it
		return stmt.QueryRowContext(ctx, args...)
	}
	return s.Tx.QueryRowContext(ctx, query, args...) // tells what is wrong with it, too
}

// again returns the prepared statement; none the first time.
func (s *statements) again(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt := s.prepared[query]; stmt != nil {
		return stmt, nil
	}
	if !s.made[query] {
		s.made[query] = true
		return nil, nil
	}
	stmt, err := s.PrepareContext(ctx, query)
	if err == nil {
		s.prepared[query] = stmt
	}
	return stmt, err
}

// close releases what was prepared, before the transaction ends.
func (s *statements) close() error {
	var errs []error
	for _, stmt := range s.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(errs...)
}
