package apikey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// CreateAccount adds an account.
func (s *SQLStore) CreateAccount(ctx context.Context, a Account) (Account, error) {
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		a.Revision = revision
		_, err := tx.ExecContext(ctx, insertInto("edge_service_accounts", accountColumns), a.values()...)
		return err
	})
	if sqldb.IsUnique(err) {
		return Account{}, ErrExists
	}
	if err != nil {
		return Account{}, fmt.Errorf("apikey: create a service account: %w", err)
	}
	return a, nil
}

// GetAccount returns an account.
func (s *SQLStore) GetAccount(ctx context.Context, id AccountID) (Account, error) {
	a, err := scanAccount(s.db.Reader().QueryRowContext(ctx, selectAccounts+`WHERE a.tenant = $1 AND a.id = $2`, id.Tenant, id.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, ErrNoAccount
	}
	if err != nil {
		return Account{}, fmt.Errorf("apikey: get a service account: %w", err)
	}
	return a, nil
}

func accountIn(ctx context.Context, tx *sql.Tx, id AccountID) (Account, error) {
	a, err := scanAccount(tx.QueryRowContext(ctx, selectAccounts+`WHERE a.tenant = $1 AND a.id = $2`, id.Tenant, id.ID))
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, ErrNoAccount
	}
	return a, err
}

// ListAccounts returns accounts by tenant and id.
func (s *SQLStore) ListAccounts(ctx context.Context, f AccountFilter) ([]Account, error) {
	const order = ` ORDER BY a.tenant, a.id LIMIT $3`
	if f.Tenant != "" {
		return list(ctx, s.db.Reader(), scanAccount, selectAccounts+`WHERE a.tenant = $1 AND a.id > $2`+order, f.Tenant, f.After.ID, f.Limit)
	}
	return list(ctx, s.db.Reader(), scanAccount, selectAccounts+`WHERE a.tenant > $1 OR (a.tenant = $1 AND a.id > $2)`+order,
		f.After.Tenant, f.After.ID, f.Limit)
}

// UpdateAccount changes an account.
func (s *SQLStore) UpdateAccount(ctx context.Context, id AccountID, edit func(a *Account) error) (Account, error) {
	var out Account
	err := s.change(ctx, func(ctx context.Context, tx *sql.Tx, revision int64) error {
		a, err := accountIn(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := edit(&a); err != nil {
			return err
		}
		a.Revision = revision
		out = a
		_, err = tx.ExecContext(ctx, updateWhere("edge_service_accounts", accountColumns, "tenant", "id"), append(a.values(), id.Tenant, id.ID)...)
		return err
	})
	if err != nil {
		return Account{}, fmt.Errorf("apikey: update a service account: %w", err)
	}
	return out, nil
}

// DeleteAccount deletes an account. Every key that is revoked for it has a revision
// of its own, so that whoever reads changes in pages misses none.
func (s *SQLStore) DeleteAccount(ctx context.Context, id AccountID, t time.Time, force bool) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		// Before anything is read, so that no key comes meanwhile.
		revision, err := nextRevision(ctx, tx)
		if err != nil {
			return err
		}
		if _, err := accountIn(ctx, tx, id); err != nil {
			return err
		}
		// Expired ones too: another account of that name must not come into them.
		keys, err := list(ctx, tx, scanKey, selectKeys+`WHERE k.tenant = $1 AND k.service_account = $2 AND k.revoke_time = 0`, id.Tenant, id.ID)
		if err != nil {
			return err
		}
		if !force && slices.ContainsFunc(keys, func(r Record) bool { return r.State(t) != StateExpired }) {
			return ErrHasKeys
		}
		for i, key := range keys {
			if i > 0 {
				if revision, err = nextRevision(ctx, tx); err != nil {
					return err
				}
			}
			_, err = tx.ExecContext(ctx, `UPDATE edge_api_keys SET revoke_time = $1, revision = $2 WHERE id = $3`, sqldb.Micros(t), revision, key.ID)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM edge_service_accounts WHERE tenant = $1 AND id = $2`, id.Tenant, id.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("apikey: delete a service account: %w", err)
	}
	return nil
}

// AccountChanges returns accounts that changed after a revision.
func (s *SQLStore) AccountChanges(ctx context.Context, after int64, limit int) ([]Account, error) {
	return list(ctx, s.db.Reader(), scanAccount, selectAccounts+`WHERE a.revision > $1 ORDER BY a.revision LIMIT $2`, after, limit)
}
