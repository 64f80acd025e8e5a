package session

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound says that there is no such session.
var ErrNotFound = errors.New("session: there is no such session")

// ErrUsed says that a logout token was used before.
var ErrUsed = errors.New("session: the logout token was used before")

// AtProvider is what the provider calls a person and a login; one may be empty.
type AtProvider struct{ Subject, Session string }

// ProviderLogout is what a provider says has ended.
type ProviderLogout struct {
	Issuer string
	// At is the login that has ended; without Session all of Subject's. Sessions of
	// which is not known which login they are end with every login of their person.
	At AtProvider
	// Token is the SHA-256 of the token's name, in hexadecimal, and Until is how long it
	// is refused.
	Token string
	Until time.Time
	// Time is when the sessions end.
	Time time.Time
}

// Record is what is kept of a session.
type Record struct {
	// ID names the session; it is no secret.
	ID string
	// Hash is the SHA-256 of the secret that the browser has, in hexadecimal.
	Hash string
	// Issuer is the provider that said who this is.
	Issuer string
	// Provider is what it calls the person and the login.
	Provider AtProvider
	Tenant   string
	Subject  string
	Roles    []string
	Groups   []string
	// Agent is what the browser calls itself, and Address where the login came from.
	Agent, Address string
	// The times are exact to the microsecond; the zero time is none. LastUseTime is
	// behind by up to Config.touchEvery.
	CreateTime, LastUseTime, ExpireTime, EndTime time.Time
	// Revision numbers the last change; set by the store.
	Revision int64
}

// Filter restricts a list of sessions to those that have not ended at Now.
type Filter struct {
	// Tenant and Subject restrict to one; empty: all.
	Tenant, Subject string
	// Now is when the sessions must hold, and Idle how long ago they may have been
	// used last.
	Now  time.Time
	Idle time.Duration
	// After is the last id of the page before.
	After string
	// Limit is the most sessions returned; positive.
	Limit int
}

// Store keeps sessions. Implementations are safe for concurrent use, and changes
// have revisions that are committed in their order.
type Store interface {
	// Create adds a session. Of the subject's others the most-1 that were used last go
	// on; the rest end at its CreateTime.
	Create(ctx context.Context, r Record, most int) (Record, error)
	// Get returns the session of that hash; ErrNotFound when there is none.
	Get(ctx context.Context, hash string) (Record, error)
	// Find returns a session by its id; ErrNotFound when there is none.
	Find(ctx context.Context, id string) (Record, error)
	// List returns sessions by id.
	List(ctx context.Context, f Filter) ([]Record, error)
	// Touch notes when sessions were used, by their hashes. Later times stay.
	Touch(ctx context.Context, used map[string]time.Time) error
	// End ends a session at t, if it had not ended before.
	End(ctx context.Context, id string, t time.Time) (Record, error)
	// EndAll ends all of a subject's sessions at t but the one with the id except,
	// and returns how many it ended.
	EndAll(ctx context.Context, tenant, subject, except string, t time.Time) (int, error)
	// EndAtProvider ends what a provider says has ended, and returns the sessions that
	// it ended; ErrUsed when the token was used before, whichever edge was shown it.
	EndAtProvider(ctx context.Context, l ProviderLogout) ([]Record, error)
	// Prune deletes sessions that ended or expired before t, or were not used since
	// idle, and returns how many. Logout tokens that are old anyway are forgotten.
	Prune(ctx context.Context, t, idle time.Time) (int64, error)
	// Revision returns the number of the last change.
	Revision(ctx context.Context) (int64, error)
	// Changes returns sessions that changed after a revision, in the changes' order.
	Changes(ctx context.Context, after int64, limit int) ([]Record, error)
}
