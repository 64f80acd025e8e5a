// Package authn finds out who makes a request. It decides nothing about what
// they may do. Start reading at Authenticator.
package authn

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// The metadata keys.
const (
	// Header carries the credentials: `Bearer <token>` or `DPoP <token>`.
	Header = "authorization"
	// Challenge tells a refused caller how to authenticate (RFC 6750).
	Challenge = "www-authenticate"
)

// retryAfter is when to try again after a store did not answer.
const retryAfter = time.Second

// MaxTokenBytes bounds a token from outside.
const MaxTokenBytes = 8192

// Cause is why credentials were refused: for metrics and logs, not for the
// caller.
type Cause string

// The causes.
const (
	Missing     Cause = "missing"
	Malformed   Cause = "malformed"
	Unknown     Cause = "unknown"
	Revoked     Cause = "revoked"
	Expired     Cause = "expired"
	Unavailable Cause = "unavailable"
	// Foreign is a token that says what it must not, or not what it must: another
	// audience, no tenant, not valid yet.
	Foreign Cause = "foreign"
	// Rotated is the secret that a key had before.
	Rotated Cause = "rotated"
	// Disabled is a key whose service account is disabled or gone.
	Disabled Cause = "disabled"
	// Network is an address that the credentials do not hold for.
	Network Cause = "network"
	// Unproven is a token that is bound to a key of which the request brings no
	// proof, or a wrong one, and Nonce a proof without a nonce of ours.
	Unproven Cause = "unproven"
	Nonce    Cause = "nonce"
)

// Principal is a caller and what the gateway grants to the credentials shown.
type Principal struct {
	Caller identity.Caller
	// RequestsPerMinute is the credentials' own limit; 0 for the gateway's default.
	RequestsPerMinute int
	// Grant narrows what the credentials may be used for.
	Grant Grant
	// IssueTime is when they were issued; the zero time when that is not known.
	IssueTime time.Time
	// ExpireTime is when an API key ends; the zero time is never, or not known.
	ExpireTime time.Time
	// SecretTime is since when an API key has no other secret than its last one: what
	// was issued before was to a secret that may have leaked. Zero: not rotated.
	SecretTime time.Time
	// Claims is what the token says; nil for an API key. It is not changed.
	Claims map[string]any
	// Bound says that the credentials hold only for who can also prove to have a
	// key, and that this was proven.
	Bound bool
	// Confirmation is what must be proven; the zero value is nothing.
	Confirmation Confirmation
	// SessionID names the web session whose cookie was shown; empty for other
	// credentials.
	SessionID string
}

// Grant narrows what credentials may be used for, below what their holder may do.
type Grant = grant.Grant

// Key is what a context is asked for to find a request's *Principal, which nobody
// changes: for one that carries more than that.
type Key struct{}

// NewContext returns ctx carrying p.
func NewContext(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, Key{}, &p)
}

// Of is FromContext without a copy: nil where there is none. It must not be changed.
func Of(ctx context.Context) *Principal {
	p, _ := ctx.Value(Key{}).(*Principal)
	return p
}

// FromContext returns the principal whom the request's credentials show.
func FromContext(ctx context.Context) (Principal, bool) {
	if p := Of(ctx); p != nil {
		return *p, true
	}
	return Principal{}, false
}

// RefusedError says why a token was not accepted.
type RefusedError struct {
	Cause Cause
	// KeyID names the key that was shown, when it is known; for the audit trail.
	KeyID string
	// Code is what OAuth calls it; empty: invalid_token.
	Code string
	// Nonce is for the next proof, where one was needed.
	Nonce string
}

func (r *RefusedError) Error() string {
	return "authn: the credentials are refused: " + string(r.Cause)
}

// Authenticator accepts one kind of token. Implementations are safe for
// concurrent use.
type Authenticator interface {
	// Recognises reports whether a token is of this kind, by its form alone.
	Recognises(token string) bool
	// Authenticate returns who shows the token, whom others may have as well: it is not
	// changed. A token that is not accepted is a *RefusedError; any other error means that
	// it could not be judged.
	Authenticate(ctx context.Context, token string) (*Principal, error)
}

// Chain asks the first authenticator that recognises the token.
type Chain []Authenticator

// Recognises reports whether any authenticator does.
func (c Chain) Recognises(token string) bool {
	for _, a := range c {
		if a.Recognises(token) {
			return true
		}
	}
	return false
}

// Authenticate refuses as malformed what nobody recognises.
func (c Chain) Authenticate(ctx context.Context, token string) (*Principal, error) {
	for _, a := range c {
		if a.Recognises(token) {
			return a.Authenticate(ctx, token)
		}
	}
	return nil, &RefusedError{Cause: Malformed}
}

// Error returns what the caller is told. Refused credentials all get the same
// answer, whatever the cause: it would help those who guess.
func Error(r *RefusedError) error {
	switch r.Cause { //nolint:exhaustive // the others are alike
	case CrossSite:
		return apierr.New(apierr.PermissionDenied, "a web session counts only for requests of this gateway's own pages: "+
			"the browser must say so (Sec-Fetch-Site or Origin), and what is no GET needs the page's X-CSRF-Token")
	case Missing:
		return apierr.New(apierr.Unauthenticated, "this needs credentials: send the header Authorization: Bearer <API key or access token>")
	case Nonce:
		return apierr.New(apierr.Unauthenticated, "the DPoP proof needs a nonce: make it again with the one of the header DPoP-Nonce")
	}
	return apierr.New(apierr.Unauthenticated, "the credentials are not valid: they are unknown, malformed, expired or revoked")
}
