package authn

import (
	"context"
	"errors"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/apikey"
)

// APIKeys accepts API keys.
type APIKeys struct{ keys *apikey.Manager }

// NewAPIKeys returns an authenticator that asks keys.
func NewAPIKeys(keys *apikey.Manager) *APIKeys { return &APIKeys{keys: keys} }

// Recognises reports whether token begins like a key.
func (a *APIKeys) Recognises(token string) bool { return strings.HasPrefix(token, apikey.Prefix) }

// Authenticate returns the holder of a key, who is worked out once for as long as the key
// is remembered.
func (a *APIKeys) Authenticate(ctx context.Context, token string) (*Principal, error) {
	v, err := a.keys.Verify(ctx, token)
	if err == nil {
		if known, ok := v.Made.Load().(*Principal); ok {
			return known, nil
		}
	}
	p, err := principal(v, err)
	if err != nil {
		return nil, err
	}
	v.Made.Store(&p)
	return &p, nil
}

// ByID returns the holder of a key as it is now, without its text: for what was
// issued to that key before. The errors are those of Authenticate. Whether the
// request comes from one of the key's networks is for the caller's step to ask, as
// it is for Authenticate's.
func (a *APIKeys) ByID(ctx context.Context, id string) (Principal, error) {
	return principal(a.keys.State(ctx, id))
}

func principal(v apikey.Verified, err error) (Principal, error) {
	var invalid *apikey.InvalidError
	switch {
	case errors.As(err, &invalid):
		return Principal{}, &RefusedError{Cause: Cause(invalid.Cause), KeyID: invalid.ID}
	case apikey.Away(err):
		return Principal{}, apierr.Wrap(apierr.Unavailable, err, "the credentials cannot be checked now").WithRetryAfter(retryAfter)
	case err != nil:
		return Principal{}, err
	}
	return Principal{Caller: *v.Caller, RequestsPerMinute: int(v.RequestsPerMinute), Grant: v.Access.Grant, ExpireTime: v.ExpireTime, SecretTime: v.SecretTime}, nil
}
