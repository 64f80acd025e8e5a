package store

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
)

// maxPrepared bounds the statements that are kept. Their texts are few: lists in
// them have as many places as a power of two.
const maxPrepared = 64

// prepared are statements that every search asks: SQLite takes as long to read
// them as to answer them. It is safe for concurrent use; statements end with the
// database.
type prepared struct {
	db *sql.DB

	mu    sync.Mutex
	known map[string]*sql.Stmt
}

func newPrepared(db *sql.DB) *prepared { return &prepared{db: db, known: make(map[string]*sql.Stmt)} }

func (p *prepared) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stmt := p.known[query]; stmt != nil || len(p.known) == maxPrepared {
		return stmt, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query) //nolint:sqlclosecheck // ends with the database
	if err != nil {
		return nil, fmt.Errorf("search store: prepare: %w", err)
	}
	p.known[query] = stmt
	return stmt, nil
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := p.statement(ctx, query) //nolint:sqlclosecheck // ends with the database
	switch {
	case err != nil:
		return nil, err
	case stmt == nil:
		return p.db.QueryContext(ctx, query, args...)
	default:
		return stmt.QueryContext(ctx, args...)
	}
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt, err := p.statement(ctx, query); err == nil && stmt != nil { //nolint:sqlclosecheck // ends with the database
		return stmt.QueryRowContext(ctx, args...)
	}
	return p.db.QueryRowContext(ctx, query, args...) // tells what is wrong with it, too
}

// padded returns values with another, of which there should be little to read,
// added until there are as many as a power of two, so that lists of about the same
// length are the same statement.
func padded[T any](values []T, by T) []T {
	for n := len(values); n > 0 && n&(n-1) != 0; n = len(values) {
		values = append(values, by)
	}
	return values
}
