package apikey

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// What a store answers.
var (
	ErrNotFound = errors.New("apikey: there is no such key")
	ErrExists   = errors.New("apikey: there is such a key already")
	// ErrChanged says that something is no longer in the state that was read.
	ErrChanged = errors.New("apikey: it has changed since it was read")
	// ErrEnded says that a key was revoked, so that nothing else about it changes.
	ErrEnded = errors.New("apikey: the key was revoked")
	// ErrNoAccount says that there is no such service account.
	ErrNoAccount = errors.New("apikey: there is no such service account")
	// ErrHasKeys says that a service account has keys that hold.
	ErrHasKeys = errors.New("apikey: the service account has keys")
)

// Record is what is kept of a key.
type Record struct {
	ID      string
	Name    string
	Tenant  string
	Subject string
	Roles   []string
	Groups  []string
	// Grant narrows what the key is for.
	Grant grant.Grant
	// Owner is whom to ask about it, and Creator the subject who created it.
	Owner, Creator string
	// ServiceAccount is the account of the same tenant that it belongs to; empty for
	// none. Account is what that is; nil when it is gone.
	ServiceAccount string
	Account        *Account
	// Secret is what Peppers made of the key, and Previous of the one before its
	// last rotation, which goes on until PreviousExpireTime.
	Secret, Previous Hash
	// The times are exact to the microsecond; the zero time is none.
	CreateTime, UpdateTime, ExpireTime, RevokeTime time.Time
	RotateTime, PreviousExpireTime                 time.Time
	// LastUseTime is exact to the minute, and found only by Get and List of a store.
	LastUseTime time.Time
	// RequestsPerMinute is 0 for the gateway's default.
	RequestsPerMinute int32
	// Revision numbers the last change; set by the store.
	Revision int64
}

// Account is a program that has keys.
type Account struct {
	Tenant, ID               string
	DisplayName, Description string
	Roles, Groups            []string
	// Grant is the most that its keys are for.
	Grant          grant.Grant
	Owner, Creator string
	Disabled       bool
	// The times are exact to the microsecond; the zero time is none.
	CreateTime, UpdateTime time.Time
	Revision               int64
}

// AccountID names an account.
type AccountID struct{ Tenant, ID string }

// State is whether a key holds.
type State int

// The states; the zero value is none of them.
const (
	Active State = 1 + iota
	StateRevoked
	StateExpired
	StateDisabled
)

// State returns whether the key holds at now.
func (r *Record) State(now time.Time) State {
	switch {
	case !r.RevokeTime.IsZero():
		return StateRevoked
	case !r.ExpireTime.IsZero() && !now.Before(r.ExpireTime):
		return StateExpired
	case r.ServiceAccount != "" && (r.Account == nil || r.Account.Disabled):
		return StateDisabled
	default:
		return Active
	}
}

// Access is what a key gives its holder. It is not changed.
type Access struct {
	Roles, Groups []string
	Grant         grant.Grant
}

// Access returns what the key gives its holder: one of a service account what the
// account has, and what both grant.
func (r Record) Access() Access {
	switch {
	case r.ServiceAccount == "":
		return Access{Roles: r.Roles, Groups: r.Groups, Grant: r.Grant}
	case r.Account == nil:
		return Access{Grant: r.Grant}
	default:
		return Access{Roles: r.Account.Roles, Groups: r.Account.Groups, Grant: r.Grant.Intersect(r.Account.Grant)}
	}
}

// Caller returns the key's holder.
func (r Record) Caller() identity.Caller {
	a := r.Access()
	c := identity.NewCaller(r.Tenant, r.Subject, a.Roles, a.Groups)
	c.KeyID = r.ID
	return c
}

// NamedSubject returns whom the key speaks for, "" where that is only itself or its
// account.
func (r Record) NamedSubject() string {
	if r.ServiceAccount != "" || r.Subject == "key-"+r.ID {
		return ""
	}
	return r.Subject
}

// Filter restricts a list of keys. Empty fields restrict nothing.
type Filter struct {
	Tenant, Subject, Owner, ServiceAccount string
	// State is as of Now.
	State State
	Now   time.Time
	// UnusedSince restricts to keys neither used nor created since.
	UnusedSince time.Time
	// After is the last id of the page before.
	After string
	// Limit is the most keys returned; positive.
	Limit int
}

// AccountFilter restricts a list of accounts.
type AccountFilter struct {
	// Tenant restricts to one tenant; empty: all.
	Tenant string
	// After is the last account of the page before.
	After AccountID
	// Limit is the most accounts returned; positive.
	Limit int
}

// Store keeps keys and service accounts. Implementations are safe for concurrent
// use, and changes have revisions that are committed in their order.
type Store interface {
	Accounts
	Maintenance
	// Create adds a key; ErrExists when its id is taken, ErrNoAccount when its
	// account is not there.
	Create(ctx context.Context, r Record) (Record, error)
	// CreateFirst adds a key if there has never been one, and reports whether it
	// did. before is called when it will, inside the transaction: when it fails,
	// or the process ends, no key was added. It may be called again.
	CreateFirst(ctx context.Context, r Record, before func() error) (bool, error)
	// Get returns a key; ErrNotFound when there is none.
	Get(ctx context.Context, id string) (Record, error)
	// GetAll returns those of the keys that there are, in any order. At most 1000.
	GetAll(ctx context.Context, ids []string) ([]Record, error)
	// List returns keys by id.
	List(ctx context.Context, f Filter) ([]Record, error)
	// Revoke ends a key at t, if it had not ended so before.
	Revoke(ctx context.Context, id string, t time.Time) (Record, error)
	// Update stores what edit makes of a key as it is, with its new revision. The
	// error of edit is returned; a revoked key is ErrEnded. edit may be called again.
	Update(ctx context.Context, id string, edit func(r *Record) error) (Record, error)
	// Revision returns the number of the last change.
	Revision(ctx context.Context) (int64, error)
	// Changes returns keys that changed after a revision, in the changes' order.
	Changes(ctx context.Context, after int64, limit int) ([]Record, error)
}

// Accounts is the part of a Store that keeps service accounts.
type Accounts interface {
	// CreateAccount adds an account; ErrExists when its id is taken.
	CreateAccount(ctx context.Context, a Account) (Account, error)
	// GetAccount returns an account; ErrNoAccount when there is none.
	GetAccount(ctx context.Context, id AccountID) (Account, error)
	// ListAccounts returns accounts by tenant and id.
	ListAccounts(ctx context.Context, f AccountFilter) ([]Account, error)
	// UpdateAccount stores what edit makes of an account as it is. edit may be
	// called again.
	UpdateAccount(ctx context.Context, id AccountID, edit func(a *Account) error) (Account, error)
	// DeleteAccount deletes an account: ErrHasKeys while it has keys that hold at t,
	// unless force revokes these.
	DeleteAccount(ctx context.Context, id AccountID, t time.Time, force bool) error
	// AccountChanges returns accounts that changed after a revision, in the changes'
	// order.
	AccountChanges(ctx context.Context, after int64, limit int) ([]Account, error)
}

// Maintenance is the part of a Store that is no change to a key.
type Maintenance interface {
	// Used notes when keys were last used; a later time that is there stays.
	Used(ctx context.Context, uses map[string]time.Time) error
	// Rehash replaces a hash of a key, its previous secret's too, and reports whether
	// the old one was still there.
	Rehash(ctx context.Context, id string, from, to Hash) (bool, error)
	// Claim notes that hashes are made with a pepper from now on, if none was noted
	// before or one of known was, and returns those that were.
	Claim(ctx context.Context, pepper string, known []string, t time.Time) ([]string, error)
}
