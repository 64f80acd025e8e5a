package apikey

import (
	"context"

	"github.com/poterne/poterne/pkg/telemetry"
)

// CreateAccount makes a service account; ErrExists when its tenant has one of that
// id.
func (m *Manager) CreateAccount(ctx context.Context, a Account) (Account, error) {
	a.CreateTime = m.now()
	return m.store.CreateAccount(ctx, a)
}

// GetAccount returns an account from the store; ErrNoAccount when there is none.
func (m *Manager) GetAccount(ctx context.Context, id AccountID) (Account, error) {
	return m.store.GetAccount(ctx, id)
}

// ListAccounts returns accounts by tenant and id.
func (m *Manager) ListAccounts(ctx context.Context, f AccountFilter) ([]Account, error) {
	return m.store.ListAccounts(ctx, f)
}

// UpdateAccount changes what edit changes of an account, which is given as it is
// now; edit may be called again. Its keys follow: here at once, in other replicas
// with their next poll.
func (m *Manager) UpdateAccount(ctx context.Context, id AccountID, edit func(a *Account) error) (Account, error) {
	a, err := m.store.UpdateAccount(ctx, id, func(a *Account) error {
		if err := edit(a); err != nil {
			return err
		}
		a.UpdateTime = m.now()
		return nil
	})
	if err == nil {
		m.cache.applyAccount(a)
	}
	return a, err
}

// DeleteAccount deletes an account: ErrHasKeys while it has keys that hold, unless
// force ends them.
func (m *Manager) DeleteAccount(ctx context.Context, id AccountID, force bool) error {
	if err := m.store.DeleteAccount(ctx, id, m.now(), force); err != nil {
		return err
	}
	// It is not for the answer to say that keys ended that still hold here.
	if err := m.Follow(ctx); err != nil {
		m.log.WarnContext(ctx, "the keys of a deleted service account end here with the next poll", telemetry.Err(err))
	}
	return nil
}
