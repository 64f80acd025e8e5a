package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
)

// Lease is the right to act alone under a name. It does not expire by anybody's
// clock: who watches it and sees the same Token and Beat for long enough takes it.
type Lease struct {
	// Holder is who has it; "" when it was given back.
	Holder string
	// Token is that of the holder, higher than those of all holders before; 0 when
	// nobody ever held it.
	Token int64
	// Beat grows while the holder is alive.
	Beat int64
}

// Fence is what a holder shows with every write: it is refused once somebody else
// has taken the lease.
type Fence struct {
	Name  string
	Token int64
}

// errLeaseLost says that somebody else has the lease.
func errLeaseLost(name string) error {
	return apierr.New(apierr.Conflict, "somebody else has taken the lease %q", name).WithField("lease")
}

// Lease returns a lease as it is; the zero Lease when nobody ever held it.
func (s *Store) Lease(ctx context.Context, name string) (Lease, error) {
	l, err := lease(ctx, s.db.Reader(), name)
	return l, failure(ctx, err, "lease %q", name)
}

func lease(ctx context.Context, q querier, name string) (l Lease, err error) {
	err = q.QueryRowContext(ctx, `SELECT holder, token, beat FROM registry_leases WHERE name = $1`, name).
		Scan(&l.Holder, &l.Token, &l.Beat)
	if errors.Is(err, sql.ErrNoRows) {
		return Lease{}, nil
	}
	return l, err
}

// TakeLease takes a lease that still is as it was seen; CONFLICT when it is not.
// It waits for changes in hand, and those that begin later see it: a write that a
// fence lets through is committed before the next holder reads anything.
func (s *Store) TakeLease(ctx context.Context, name, holder string, seen Lease) (Lease, error) {
	taken := Lease{Holder: holder, Token: seen.Token + 1}
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := lockChanges(ctx, tx); err != nil {
			return err
		}
		if seen.Token == 0 {
			return oneRow(name)(tx.ExecContext(ctx, `INSERT INTO registry_leases (name, holder, token, beat)
				VALUES ($1, $2, $3, 0) ON CONFLICT DO NOTHING`, name, holder, taken.Token))
		}
		return oneRow(name)(tx.ExecContext(ctx, `UPDATE registry_leases SET holder = $1, token = $2, beat = 0
			WHERE name = $3 AND token = $4 AND beat = $5`, holder, taken.Token, name, seen.Token, seen.Beat))
	})
	if err != nil {
		return Lease{}, failure(ctx, err, "take the lease %q", name)
	}
	return taken, nil
}

// RenewLease says that the holder is alive; CONFLICT when it no longer holds it.
func (s *Store) RenewLease(ctx context.Context, f Fence) error {
	return s.beat(ctx, f, `UPDATE registry_leases SET beat = beat + 1 WHERE name = $1 AND token = $2`)
}

// ReleaseLease gives a lease back, so that nobody has to wait for it; CONFLICT when
// it is somebody else's.
func (s *Store) ReleaseLease(ctx context.Context, f Fence) error {
	return s.beat(ctx, f, `UPDATE registry_leases SET holder = '', beat = beat + 1 WHERE name = $1 AND token = $2`)
}

func (s *Store) beat(ctx context.Context, f Fence, query string) error {
	err := s.db.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		return oneRow(f.Name)(tx.ExecContext(ctx, query, f.Name, f.Token))
	})
	return failure(ctx, err, "lease %q", f.Name)
}

// oneRow makes an error of a statement on a lease that found another one.
func oneRow(name string) func(sql.Result, error) error {
	return func(result sql.Result, err error) error {
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n != 1 {
			err = errLeaseLost(name)
		}
		return err
	}
}

// fenced refuses the change of a holder that is one no longer.
func (c *change) fenced(ctx context.Context, f *Fence) error {
	if f == nil {
		return nil
	}
	l, err := lease(ctx, c.tx, f.Name)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	if l.Token != f.Token {
		return errLeaseLost(f.Name)
	}
	return nil
}
