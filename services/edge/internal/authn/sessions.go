package authn

import (
	"context"
	"errors"
	"net/http"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// CSRFHeader carries what a page shows and other sites do not know.
const CSRFHeader = "X-Csrf-Token"

// CrossSite is a session's cookie on a request that another site may have caused.
const CrossSite Cause = "cross_site"

// Sessions accepts the cookies of people who are logged in, on requests that this
// gateway's own pages make and nobody else's: a browser adds the cookie to whatever
// request any site causes. It is safe for concurrent use.
type Sessions struct {
	sessions *session.Manager
	origin   string
	cookie   string
}

// NewSessions returns an authenticator of the named cookie for pages of origin,
// scheme://host[:port].
func NewSessions(sessions *session.Manager, origin, cookie string) *Sessions {
	return &Sessions{sessions: sessions, origin: origin, cookie: cookie}
}

// Present reports whether a request has the cookie.
func (s *Sessions) Present(r *http.Request) bool { return len(r.CookiesNamed(s.cookie)) > 0 }

// Secret returns what is in the request's cookie; a *RefusedError when there is
// none, or what can be none.
func (s *Sessions) Secret(r *http.Request) (session.Secret, error) {
	cookies := r.CookiesNamed(s.cookie)
	if len(cookies) == 0 {
		return session.Secret{}, &RefusedError{Cause: Missing}
	}
	secret, err := session.ParseSecret(cookies[0].Value)
	if err != nil || len(cookies) > 1 {
		return session.Secret{}, &RefusedError{Cause: Malformed}
	}
	return secret, nil
}

// Authenticate returns who is logged in with the browser that makes a request of
// the API: a *RefusedError when it is not accepted, another error when that could
// not be judged.
func (s *Sessions) Authenticate(ctx context.Context, r *http.Request) (Principal, error) {
	secret, err := s.Secret(r)
	if err != nil {
		return Principal{}, err
	}
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	if !s.SameOrigin(r) || changes && !secret.CSRFMatches(r.Header.Get(CSRFHeader)) {
		return Principal{}, &RefusedError{Cause: CrossSite}
	}
	rec, err := s.Verify(ctx, secret)
	if err != nil {
		return Principal{}, err
	}
	return principalOf(rec), nil
}

// Verify returns the session of a secret, as Authenticate does.
func (s *Sessions) Verify(ctx context.Context, secret session.Secret) (session.Record, error) {
	rec, err := s.sessions.Verify(ctx, secret)
	var invalid *session.InvalidError
	switch {
	case errors.As(err, &invalid):
		return session.Record{}, &RefusedError{Cause: Cause(invalid.Cause), KeyID: sessionKeyID(invalid.ID)}
	case session.Away(err):
		return session.Record{}, apierr.Wrap(apierr.Unavailable, err, "the session cannot be checked now").WithRetryAfter(retryAfter)
	}
	return rec, err
}

// SameOrigin reports whether the browser says that a page of this gateway makes the
// request: in Sec-Fetch-Site (Fetch Metadata), or, for browsers without it, in
// Origin. One that says neither is not believed.
func (s *Sessions) SameOrigin(r *http.Request) bool {
	site, origin := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	if len(site) > 1 || len(origin) > 1 {
		return false
	}
	// A page that sends no referrer has the origin null; where the request comes from
	// is then in Sec-Fetch-Site alone.
	fits := len(origin) == 1 && origin[0] == s.origin
	if len(site) == 0 {
		return fits
	}
	return site[0] == "same-origin" && (fits || len(origin) == 0 || origin[0] == "null")
}

func principalOf(r session.Record) Principal {
	return Principal{
		Caller: identity.NewCaller(r.Tenant, r.Subject, r.Roles, r.Groups), IssueTime: r.CreateTime, SessionID: r.ID,
	}
}

// sessionKeyID is how a session is named where keys are.
func sessionKeyID(id string) string {
	if id == "" {
		return ""
	}
	return "session:" + id
}

// CredentialID names what the principal showed, for the audit trail; empty when it
// has no name.
func (p Principal) CredentialID() string {
	if p.SessionID != "" {
		return sessionKeyID(p.SessionID)
	}
	return p.Caller.KeyID
}
