package budget

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/sqldb"
)

// What a store answers.
var (
	ErrNotFound = errors.New("budget: there is no such budget")
	// ErrOther says that the budget of that name counts something else.
	ErrOther = errors.New("budget: the budget of this name counts something else")
	// ErrFull says that the tenant has as many budgets as may be.
	ErrFull = errors.New("budget: the tenant has too many budgets")
	// ErrPlatform says that only the platform's administrators change the budget.
	ErrPlatform = errors.New("budget: it is the platform's")
)

// MaxPerTenant bounds the budgets of one tenant.
const MaxPerTenant = 1000

// Store keeps budgets. Implementations are safe for concurrent use.
type Store interface {
	// Set makes a budget, or changes the amount, the warnings and whether it is hard of
	// the one that there is. platform says that the caller may change the platform's.
	Set(ctx context.Context, b Budget, platform bool) (Budget, error)
	// Delete removes a budget, and what is counted of it.
	Delete(ctx context.Context, tenant, id string, platform bool) (Budget, error)
	// List returns all budgets, by tenant and id.
	List(ctx context.Context) ([]Budget, error)
	// Revision returns the number of the last change, to budgets or prices.
	Revision(ctx context.Context) (int64, error)
}

// SQLStore is a Store in SQLite or PostgreSQL, on the tables of package schema.
type SQLStore struct{ db *sqldb.DB }

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore { return &SQLStore{db: db} }

const columns = `uid, tenant, id, scope, scope_name, period, unit, amount, warnings, hard, platform, create_time, update_time, updater`

func (s *SQLStore) change(ctx context.Context, fn func(ctx context.Context, tx *sql.Tx, revision int64) error) error {
	return s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var revision int64
		err := tx.QueryRowContext(ctx, `UPDATE edge_usage_revision SET revision = revision + 1 WHERE one = 1 RETURNING revision`).Scan(&revision)
		if err != nil {
			return err
		}
		return fn(ctx, tx, revision)
	})
}

// Set makes or changes a budget.
func (s *SQLStore) Set(ctx context.Context, b Budget, platform bool) (Budget, error) {
	warnings, err := json.Marshal(append([]int32{}, b.Warnings...))
	if err != nil {
		return Budget{}, fmt.Errorf("budget: encode: %w", err)
	}
	err = s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		old, err := one(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM edge_budgets WHERE tenant = $1 AND id = $2`, b.Tenant, b.ID))
		switch {
		case errors.Is(err, ErrNotFound):
			return insert(ctx, tx, &b, revision, string(warnings))
		case err != nil:
			return err
		case old.Platform && !platform:
			return ErrPlatform
		case old.Scope != b.Scope || old.Name != b.Name || old.Every != b.Every || old.Unit != b.Unit:
			return ErrOther
		}
		b.UID, b.CreateTime, b.Platform = old.UID, old.CreateTime, old.Platform
		_, err = tx.ExecContext(ctx, `UPDATE edge_budgets SET amount = $1, warnings = $2, hard = $3, update_time = $4, updater = $5 WHERE uid = $6`,
			b.Amount, string(warnings), number(b.Hard), sqldb.Micros(b.UpdateTime), b.Updater, b.UID)
		return err
	})
	return b, wrap("set", err)
}

func insert(ctx context.Context, tx *sql.Tx, b *Budget, revision int64, warnings string) error {
	var count int
	if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM edge_budgets WHERE tenant = $1`, b.Tenant).Scan(&count); err != nil {
		return err
	}
	if count >= MaxPerTenant {
		return ErrFull
	}
	b.UID, b.CreateTime = revision, b.UpdateTime
	_, err := tx.ExecContext(ctx, `INSERT INTO edge_budgets (`+columns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		b.UID, b.Tenant, b.ID, string(b.Scope), b.Name, string(b.Every), string(b.Unit), b.Amount, warnings, number(b.Hard), number(b.Platform),
		sqldb.Micros(b.CreateTime), sqldb.Micros(b.UpdateTime), b.Updater)
	return err
}

// wrap adds what was done to an error that is not one of the store's own.
func wrap(what string, err error) error {
	for _, own := range []error{ErrNotFound, ErrOther, ErrFull, ErrPlatform} {
		if errors.Is(err, own) {
			return own
		}
	}
	if err != nil {
		return fmt.Errorf("budget: %s: %w", what, err)
	}
	return nil
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Delete removes a budget. Its sums go too; what requests used stays in the ledger.
func (s *SQLStore) Delete(ctx context.Context, tenant, id string, platform bool) (Budget, error) {
	var old Budget
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, _ int64) error {
		var err error
		old, err = one(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM edge_budgets WHERE tenant = $1 AND id = $2`, tenant, id))
		if err != nil {
			return err
		}
		if old.Platform && !platform {
			return ErrPlatform
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM edge_budgets WHERE uid = $1`, old.UID)
		return err
	})
	return old, wrap("delete", err)
}

// List returns all budgets.
func (s *SQLStore) List(ctx context.Context) (out []Budget, err error) {
	rows, err := s.db.Reader().QueryContext(ctx, `SELECT `+columns+` FROM edge_budgets ORDER BY tenant, id`)
	if err != nil {
		return nil, fmt.Errorf("budget: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		b, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("budget: list: %w", err)
		}
		out = append(out, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("budget: list: %w", err)
	}
	return out, nil
}

// Revision returns the number of the last change.
func (s *SQLStore) Revision(ctx context.Context) (int64, error) {
	var revision int64
	err := s.db.Reader().QueryRowContext(ctx, `SELECT revision FROM edge_usage_revision WHERE one = 1`).Scan(&revision)
	if err != nil {
		return 0, fmt.Errorf("budget: read the revision: %w", err)
	}
	return revision, nil
}

func one(row *sql.Row) (Budget, error) {
	b, err := scan(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Budget{}, ErrNotFound
	}
	return b, err
}

func scan(row interface{ Scan(dest ...any) error }) (Budget, error) {
	var b Budget
	var warnings string
	var hard, platform int
	var created, updated int64
	if err := row.Scan(&b.UID, &b.Tenant, &b.ID, &b.Scope, &b.Name, &b.Every, &b.Unit, &b.Amount, &warnings, &hard, &platform,
		&created, &updated, &b.Updater); err != nil {
		return Budget{}, err
	}
	if err := json.Unmarshal([]byte(warnings), &b.Warnings); err != nil {
		return Budget{}, fmt.Errorf("the warnings of budget %d: %w", b.UID, err)
	}
	b.Hard, b.Platform = hard != 0, platform != 0
	b.CreateTime, b.UpdateTime = sqldb.FromMicros(created), sqldb.FromMicros(updated)
	return b, nil
}
