package authn

import (
	"context"
	"errors"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/apikey"
)

// APIKeys accepts API keys.
type APIKeys struct{ keys *apikey.Manager }

// NewAPIKeys returns an authenticator that asks keys.
func NewAPIKeys(keys *apikey.Manager) *APIKeys { return &APIKeys{keys: keys} }

// Recognises reports whether token begins like a key.
func (a *APIKeys) Recognises(token string) bool { return strings.HasPrefix(token, apikey.Prefix) }

// Authenticate returns the holder of a key.
func (a *APIKeys) Authenticate(ctx context.Context, token string) (Principal, error) {
	return holder(a.keys.Verify(ctx, token))
}

// ByID returns the holder of the key with that id as it is now, for a token that
// was issued to who had shown it.
func (a *APIKeys) ByID(ctx context.Context, id string) (Principal, error) {
	return holder(a.keys.Current(ctx, id))
}

func holder(rec apikey.Record, err error) (Principal, error) {
	var invalid *apikey.InvalidError
	switch {
	case errors.As(err, &invalid):
		return Principal{}, &RefusedError{Cause: Cause(invalid.Cause), KeyID: invalid.ID}
	case apikey.Away(err):
		return Principal{}, apierr.Wrap(apierr.Unavailable, err, "the credentials cannot be checked now").WithRetryAfter(retryAfter)
	case err != nil:
		return Principal{}, err
	}
	return Principal{Caller: callerOf(rec), RequestsPerMinute: int(rec.RequestsPerMinute), ExpireTime: rec.ExpireTime}, nil
}

func callerOf(r apikey.Record) identity.Caller {
	c := identity.NewCaller(r.Tenant, r.Subject, r.Roles, r.Groups)
	c.KeyID = r.ID
	return c
}
