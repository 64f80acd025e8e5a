package price

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// What a store answers.
var (
	// ErrExists says that the target has a price from that time on already.
	ErrExists = errors.New("price: the target has a price from this time on")
	// ErrFull says that there are as many prices as may be.
	ErrFull = errors.New("price: there are too many prices")
)

// MaxPrices bounds the prices that are kept, those that have been replaced included.
const MaxPrices = 20_000

// Store keeps prices. They are added, never changed: what was billed stays as it was.
// Implementations are safe for concurrent use.
type Store interface {
	// Add adds a price, and returns it with its revision.
	Add(ctx context.Context, p Price) (Price, error)
	// List returns all prices in the order in which they were added.
	List(ctx context.Context) ([]Price, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// Add adds a price.
func (s *SQLStore) Add(ctx context.Context, p Price) (Price, error) {
	rates, err := json.Marshal(p.Rates)
	if err != nil {
		return Price{}, fmt.Errorf("price: encode: %w", err)
	}
	err = s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx,
			`UPDATE edge_usage_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&p.Revision)
		if err != nil {
			return err
		}
		var count int64
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_prices`).Scan(&count); err != nil {
			return err
		}
		if count >= MaxPrices {
			return ErrFull
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_prices
			(revision, target, model, version, digest, variant, rates, currency, valid_from, removed, create_time, creator)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			p.Revision, p.Target.Key(), p.Target.Model, p.Target.Version, p.Target.Digest, p.Target.Variant, string(rates), p.Currency,
			sqldb.Micros(p.ValidFrom), number(p.Removed), sqldb.Micros(p.CreateTime), p.Creator)
		return err
	})
	switch {
	case errors.Is(err, ErrFull):
		return Price{}, ErrFull
	case sqldb.IsUnique(err):
		return Price{}, ErrExists
	case err != nil:
		return Price{}, fmt.Errorf("price: add: %w", err)
	}
	return p, nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// List returns all prices.
func (s *SQLStore) List(ctx context.Context) (out []Price, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT revision, model, version, digest, variant, rates, currency, valid_from, removed, create_time, creator
		FROM edge_prices ORDER BY revision`)
	if err != nil {
		return nil, fmt.Errorf("price: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Price
		var rates string
		var from, created int64
		var removed int
		if err := rows.Scan(&p.Revision, &p.Target.Model, &p.Target.Version, &p.Target.Digest, &p.Target.Variant, &rates, &p.Currency,
			&from, &removed, &created, &p.Creator); err != nil {
			return nil, fmt.Errorf("price: list: %w", err)
		}
		if err := json.Unmarshal([]byte(rates), &p.Rates); err != nil {
			return nil, fmt.Errorf("price: the rates of revision %d: %w", p.Revision, err)
		}
		p.ValidFrom, p.CreateTime, p.Removed = sqldb.FromMicros(from), sqldb.FromMicros(created), removed != 0
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("price: list: %w", err)
	}
	return out, nil
}

// InForce returns, of prices, those that hold at a time and those that are to come.
func InForce(prices []Price, t time.Time) []Price {
	newest := make(map[string]Price)
	for _, p := range prices {
		if key := p.Target.Key(); !p.ValidFrom.After(t) && !p.ValidFrom.Before(newest[key].ValidFrom) {
			newest[key] = p
		}
	}
	var out []Price
	for _, p := range prices {
		if p.ValidFrom.After(t) || newest[p.Target.Key()].Revision == p.Revision && !p.Removed {
			out = append(out, p)
		}
	}
	return out
}
