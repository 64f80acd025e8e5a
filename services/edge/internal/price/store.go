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
	// ErrBegun says that requests may have been billed by the price already.
	ErrBegun = errors.New("price: the price holds already")
	// ErrNotFound says that there is no such price.
	ErrNotFound = errors.New("price: there is no such price")
	// ErrFull says that there are as many prices as may be.
	ErrFull = errors.New("price: there are too many prices")
)

// MaxPrices bounds the prices that are kept, those that have been replaced included.
const MaxPrices = 20_000

// Store keeps prices. One that holds, or has held, is never changed: what was billed stays
// as it was. Implementations are safe for concurrent use.
type Store interface {
	// Set adds a price, and returns it with its revision. It takes the place of one of
	// its target that was to hold from the same time and does not at the time now; of one
	// that does the answer is ErrBegun.
	Set(ctx context.Context, p Price, now time.Time) (Price, error)
	// Delete removes a price that does not hold yet at the time now, and returns it:
	// ErrNotFound when there is none, ErrBegun when it does.
	Delete(ctx context.Context, revision int64, now time.Time) (Price, error)
	// List returns all prices in the order in which they were set.
	List(ctx context.Context) ([]Price, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

// change runs fn while no other process changes prices, with the revision of its change.
func (s *SQLStore) change(ctx context.Context, what string, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx,
			`UPDATE edge_usage_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return err
		}
		return fn(ctx, tx, revision)
	})
	for _, known := range []error{ErrBegun, ErrNotFound, ErrFull} {
		if errors.Is(err, known) {
			return known
		}
	}
	if err != nil {
		return fmt.Errorf("price: %s: %w", what, err)
	}
	return nil
}

// Set adds a price, or has it take another's place.
func (s *SQLStore) Set(ctx context.Context, p Price, now time.Time) (Price, error) {
	rates, err := json.Marshal(p.Rates)
	if err != nil {
		return Price{}, fmt.Errorf("price: encode: %w", err)
	}
	err = s.change(ctx, "set", func(ctx context.Context, tx *sql.Tx, revision int64) error {
		p.Revision = revision
		gone, err := tx.ExecContext(ctx, `DELETE FROM edge_prices WHERE target = $1 AND valid_from = $2 AND valid_from > $3`,
			p.Target.Key(), sqldb.Micros(p.ValidFrom), sqldb.Micros(now))
		if err != nil {
			return err
		}
		if n, err := gone.RowsAffected(); err != nil || n == 0 {
			if err := errors.Join(err, room(ctx, tx, p)); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO edge_prices
			(revision, target, model, version, digest, variant, rates, currency, valid_from, removed, create_time, creator)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			p.Revision, p.Target.Key(), p.Target.Model, p.Target.Version, p.Target.Digest, p.Target.Variant, string(rates), p.Currency,
			sqldb.Micros(p.ValidFrom), number(p.Removed), sqldb.Micros(p.CreateTime), p.Creator)
		return err
	})
	if err != nil {
		return Price{}, err
	}
	return p, nil
}

// room returns why a price cannot be added.
func room(ctx context.Context, tx *sql.Tx, p Price) error {
	var same, all int64
	err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_prices WHERE target = $1 AND valid_from = $2`, p.Target.Key(), sqldb.Micros(p.ValidFrom)).Scan(&same)
	if err != nil {
		return err
	}
	if same > 0 {
		return ErrBegun
	}
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_prices`).Scan(&all); err != nil {
		return err
	}
	if all >= MaxPrices {
		return ErrFull
	}
	return nil
}

// Delete removes a price that does not hold yet.
func (s *SQLStore) Delete(ctx context.Context, revision int64, now time.Time) (Price, error) {
	var p Price
	err := s.change(ctx, "delete", func(ctx context.Context, tx *sql.Tx, _ int64) error {
		var err error
		p, err = scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM edge_prices WHERE revision = $1`, revision))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return ErrNotFound
		case err != nil:
			return err
		case !p.ValidFrom.After(now):
			return ErrBegun
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM edge_prices WHERE revision = $1`, revision)
		return err
	})
	if err != nil {
		return Price{}, err
	}
	return p, nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

const columns = `revision, model, version, digest, variant, rates, currency, valid_from, removed, create_time, creator`

// scan reads the columns of a price.
func scan(row interface{ Scan(to ...any) error }) (Price, error) {
	var p Price
	var rates string
	var from, created int64
	var removed int
	if err := row.Scan(&p.Revision, &p.Target.Model, &p.Target.Version, &p.Target.Digest, &p.Target.Variant, &rates, &p.Currency,
		&from, &removed, &created, &p.Creator); err != nil {
		return Price{}, err
	}
	if err := json.Unmarshal([]byte(rates), &p.Rates); err != nil {
		return Price{}, fmt.Errorf("the rates of revision %d: %w", p.Revision, err)
	}
	p.ValidFrom, p.CreateTime, p.Removed = sqldb.FromMicros(from), sqldb.FromMicros(created), removed != 0
	return p, nil
}

// List returns all prices.
func (s *SQLStore) List(ctx context.Context) (out []Price, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+columns+` FROM edge_prices ORDER BY revision`)
	if err != nil {
		return nil, fmt.Errorf("price: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		p, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("price: list: %w", err)
		}
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
