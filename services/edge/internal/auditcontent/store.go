package auditcontent

import (
	"context"
	"errors"
	"time"
)

// Tenant is what a tenant wants, and its key.
type Tenant struct {
	Tenant  string
	Enabled bool
	// KeyID names the tenant's key, which the master key of the name Master wrapped;
	// empty when there is none.
	KeyID, Master, Wrapped string
	UpdateTime, EraseTime  time.Time
	Revision               int64
}

// DataKey is the key of a person's content, wrapped by the tenant's.
type DataKey struct {
	ID, Tenant, Subject string
	// TenantKey names the key that wrapped it; Wrapped is empty once it is destroyed.
	TenantKey, Wrapped    string
	CreateTime, EraseTime time.Time
	Revision              int64
}

// ErrNotFound says that there is no such tenant, or key.
var ErrNotFound = errors.New("auditcontent: not found")

// Store keeps what tenants want, and keys; *SQLStore is one. Every change has a
// revision, as package follow needs it.
type Store interface {
	Tenant(ctx context.Context, tenant string) (Tenant, error)
	// SetTenant puts a tenant in the place of what it was at its revision, 0: of
	// nothing. It reports whether that was still so.
	SetTenant(ctx context.Context, t Tenant) (bool, error)
	// Tenants returns every tenant, by name.
	Tenants(ctx context.Context) ([]Tenant, error)
	// Key returns a person's key that is not destroyed.
	Key(ctx context.Context, tenant, subject string) (DataKey, error)
	// KeyByID returns a key, destroyed or not.
	KeyByID(ctx context.Context, id string) (DataKey, error)
	// AddKey keeps a person's first key, unless there is one or the tenant's key is
	// another one by now; then ErrNotFound.
	AddKey(ctx context.Context, k DataKey) (DataKey, error)
	// Erased returns when a person's last key was destroyed after t; zero when none
	// was.
	Erased(ctx context.Context, tenant, subject string, t time.Time) (time.Time, error)
	// EraseSubject destroys a person's key, and returns how many it were.
	EraseSubject(ctx context.Context, tenant, subject string, now time.Time) (int64, error)
	// EraseTenant destroys a tenant's key and those of its people, whose number it
	// returns, and has no more kept.
	EraseTenant(ctx context.Context, tenant string, now time.Time) (int64, error)

	Revision(ctx context.Context) (int64, error)
	TenantChanges(ctx context.Context, after int64, limit int) ([]Tenant, error)
	KeyChanges(ctx context.Context, after int64, limit int) ([]DataKey, error)
}

// keys is a Store's keys, as package follow reads them.
type keys struct{ Store }

func (s keys) Get(ctx context.Context, name string) (DataKey, error) {
	tenant, subject := splitName(name)
	return s.Key(ctx, tenant, subject)
}

func (s keys) Changes(ctx context.Context, after int64, limit int) ([]DataKey, error) {
	return s.KeyChanges(ctx, after, limit)
}
