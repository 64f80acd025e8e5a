package apikey

import (
	"context"
	"slices"
	"time"
)

// heldAtOnce is how many keys are read at once where one is looked for.
const heldAtOnce = 1000

// Lister lists keys by id.
type Lister interface {
	List(ctx context.Context, f Filter) ([]Record, error)
}

// Held reports whether the tenant has a key that holds at a time and is one of those that
// are meant. Administrators are told so of names that nobody has, which may be slips;
// callers who show tokens have no key, so it is no proof.
func Held(ctx context.Context, keys Lister, tenant string, now time.Time, meant func(Record) bool) (bool, error) {
	f := Filter{Tenant: tenant, State: Active, Now: now, Limit: heldAtOnce}
	for {
		page, err := keys.List(ctx, f)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(page, meant) {
			return true, nil
		}
		if len(page) < f.Limit {
			return false, nil
		}
		f.After = page[len(page)-1].ID
	}
}

// Ended is why a key does not hold, and never will again; empty when it may.
func (r *Record) Ended(now time.Time) string {
	switch r.State(now) {
	case StateRevoked:
		return "was revoked"
	case StateExpired:
		return "has expired"
	case Active, StateDisabled:
	}
	return ""
}
