package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SQLStore is the ledger in SQLite or PostgreSQL, on the tables of package schema.
// It is safe for concurrent use.
type SQLStore struct {
	db *sqldb.DB

	// Watch is told, in the transaction that settles more of them, how budgets stand;
	// nil: nobody is. It is set before the store is used.
	Watch func(ctx context.Context, tx *sql.Tx, moved []Moved) error

	entries, charges, hours, days *sqldb.Inserter
}

// Moved is a budget of which more is settled, and how much that is in all.
type Moved struct {
	Period

	Settled int64
}

// NewSQLStore returns a store on db, which stays the caller's to close.
func NewSQLStore(db *sqldb.DB) *SQLStore {
	return &SQLStore{
		db: db,
		entries: db.NewInserter("edge_usage", entryColumns, "ON CONFLICT (id) DO NOTHING").
			Mostly("", "variant", "experiment", "arm").
			Mostly(int64(0), "estimated", "hit", "saved_input", "saved_output", "reasoning", "audio_input", "audio_output", "documents").
			Alike("tenant", "key_id", "subject", "kind", "model", "version", "outcome", "cached", "price"),
		charges: db.NewInserter("edge_usage_charges", "entry, budget, period, amount", ""),
		hours:   db.NewInserter("edge_usage_hours AS t", sumColumns, addToSum),
		days:    db.NewInserter("edge_usage_days AS t", sumColumns, addToSum),
	}
}

const (
	entryColumns = `id, time_us, request_id, tenant, key_id, subject, kind, model, version, variant, experiment, arm,
	outcome, estimated, input, cached, output, cost, price, hit, saved_input, saved_output,
	reasoning, audio_input, audio_output, documents`
	// claimKept is how long it is known that a request was made.
	claimKept = 24 * time.Hour
)

// turn locks the row that everything here locks first.
func (s *SQLStore) turn(ctx context.Context, what string, fn func(ctx context.Context, tx *sql.Tx) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE edge_usage_turn SET n = n + 1 WHERE one = 1`); err != nil {
			return err
		}
		return fn(ctx, tx)
	})
	if err != nil {
		return fmt.Errorf("ledger: %s: %w", what, err)
	}
	return nil
}

// errThere says that some of the entries are there already.
var errThere = errors.New("ledger: an entry is there already")

// Write keeps entries, once each, with their sums, in one transaction. What they
// charge is taken from what holder holds. It returns how many were new.
func (s *SQLStore) Write(ctx context.Context, holder string, entries []Entry) (int, error) {
	for _, i := range []*sqldb.Inserter{s.entries, s.charges, s.hours, s.days} {
		if err := i.Prepare(ctx); err != nil {
			return 0, fmt.Errorf("ledger: write: %w", err)
		}
	}
	// Hardly ever is one there: only when a process ended, or an answer was lost.
	count, err := s.write(ctx, holder, entries, false)
	if errors.Is(err, errThere) {
		count, err = s.write(ctx, holder, entries, true)
	}
	return count, err
}

// write keeps entries; look says that those which are there are to be looked for.
// Otherwise one that is there is errThere.
func (s *SQLStore) write(ctx context.Context, holder string, entries []Entry, look bool) (count int, err error) {
	err = s.turn(ctx, "write", func(ctx context.Context, tx *sql.Tx) error {
		fresh := entries
		if look {
			var err error
			if fresh, err = absent(ctx, tx, entries); err != nil {
				return err
			}
		}
		inserted, err := s.entries.Insert(ctx, tx, len(fresh), func(row *sqldb.Row, n int) { addValues(row, &fresh[n]) })
		if err != nil {
			return err
		}
		if inserted != len(fresh) {
			return errThere
		}
		count = len(fresh)
		if err := s.addSums(ctx, tx, fresh); err != nil {
			return err
		}
		if err := s.addCharges(ctx, tx, holder, fresh); err != nil {
			return err
		}
		return endClaims(ctx, tx, fresh)
	})
	return count, err
}

// absent returns the entries that are not there, each once.
func absent(ctx context.Context, tx *sql.Tx, entries []Entry) ([]Entry, error) {
	seen := make(map[string]bool, len(entries))
	fresh := make([]Entry, 0, len(entries))
	for _, e := range entries {
		if seen[e.ID] {
			continue
		}
		seen[e.ID] = true
		var there int
		err := tx.QueryRowContext(ctx, `SELECT 1 FROM edge_usage WHERE id = $1`, e.ID).Scan(&there)
		if errors.Is(err, sql.ErrNoRows) {
			fresh = append(fresh, e)
		} else if err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// addValues tells what the columns have of an entry, as the types that databases know.
func addValues(row *sqldb.Row, e *Entry) {
	row.Text(e.ID)
	row.Number(e.Time.UnixMicro())
	row.Text(e.RequestID, e.Tenant, e.KeyID, e.Subject, e.Kind, e.Model)
	row.Number(int64(e.Version))
	row.Text(e.Variant, e.Experiment, e.Arm, e.Outcome)
	row.Number(number(e.Estimated), e.Input, e.Cached, e.Output, e.Cost, e.Price,
		number(e.Hit), e.SavedInput, e.SavedOutput, e.Reasoning, e.AudioInput, e.AudioOutput, e.Documents)
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// addCharges counts entries against their budgets.
func (s *SQLStore) addCharges(ctx context.Context, tx *sql.Tx, holder string, entries []Entry) error {
	sums := make(map[Period]int64)
	type charge struct {
		entry string
		Charge
	}
	var charges []charge
	for _, e := range entries {
		for _, c := range e.Charges {
			sums[c.Period] += c.Amount
			charges = append(charges, charge{e.ID, c})
		}
	}
	if _, err := s.charges.Insert(ctx, tx, len(charges), func(row *sqldb.Row, n int) {
		c := charges[n]
		row.Text(c.entry)
		row.Number(c.Budget, c.Start, c.Amount)
	}); err != nil {
		return err
	}
	moved := make([]Moved, 0, len(sums))
	for p, amount := range sums {
		m := Moved{Period: p}
		if err := tx.QueryRowContext(ctx, `INSERT INTO edge_budget_counters (budget, period, settled) VALUES ($1, $2, $3)
			ON CONFLICT (budget, period) DO UPDATE SET settled = edge_budget_counters.settled + excluded.settled RETURNING settled`,
			p.Budget, p.Start, amount).Scan(&m.Settled); err != nil {
			return err
		}
		moved = append(moved, m)
		if _, err := tx.ExecContext(ctx, `UPDATE edge_budget_leases SET held = held - $1 WHERE budget = $2 AND period = $3 AND holder = $4`,
			amount, p.Budget, p.Start, holder); err != nil {
			return err
		}
	}
	if s.Watch == nil || len(moved) == 0 {
		return nil
	}
	return s.Watch(ctx, tx, moved)
}
