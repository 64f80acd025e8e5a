// Package login lets people log in to the gateway's web pages at their OpenID
// provider, and shows them their sessions. It decides nothing about what they may
// do. Start reading at Pages.
package login

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// The names in the audit trail of what the pages do, as if they were methods.
const (
	methodLogin   = "/poterne.edge.v1.Login/Begin"
	methodCome    = "/poterne.edge.v1.Login/Complete"
	methodLogout  = "/poterne.edge.v1.Login/Logout"
	methodAccount = "/poterne.edge.v1.Login/ShowAccount"
	methodEnd     = "/poterne.edge.v1.Login/EndSession"
	methodEnded   = "/poterne.edge.v1.Login/LogoutByProvider"
)

// Guard limits addresses, and records what pages do.
type Guard interface {
	// Page calls serve as the named method, unless the address has asked too often.
	// The error, whoever's it is, has been answered with nothing yet.
	Page(ctx context.Context, method string, serve func(ctx context.Context) error) error
}

// Deps is what the pages work with. All of it is needed but Metrics.
type Deps struct {
	Provider *oidc.Provider
	Sessions *session.Manager
	// Accept reads the sessions' cookies.
	Accept *authn.Sessions
	Guard  Guard
	// Key seals the cookies of logins under way; all edges have the same.
	Key    []byte
	Random io.Reader // crypto/rand.Reader outside of tests
	Clock  clock.Clock
	Log    *slog.Logger
	// Address finds where a request comes from.
	Address func(r *http.Request) string
	Metrics *metrics.Metrics
}

// Pages are the web pages of people who log in. They are safe for concurrent use.
type Pages struct {
	Deps
	cfg    Config
	sealer *sealer
}

// New returns the pages. cfg must be complete, and enabled.
func New(cfg Config, d Deps) (*Pages, error) {
	s, err := newSealer(d.Key, d.Random)
	if err != nil {
		return nil, err
	}
	return &Pages{Deps: d, cfg: cfg, sealer: s}, nil
}

// Get returns what answers GET, by path.
func (p *Pages) Get() map[string]http.Handler {
	return map[string]http.Handler{
		PathLogin:    p.page(methodLogin, p.begin),
		PathCallback: p.page(methodCome, p.complete),
		PathLogout:   p.page(methodAccount, p.askLogout),
		PathAccount:  p.page(methodAccount, p.account),
		PathToken:    p.page(methodAccount, p.token),
		PathStyle:    http.HandlerFunc(serveStyle),
	}
}

// Post returns what answers POST, by path.
func (p *Pages) Post() map[string]http.Handler {
	return map[string]http.Handler{
		PathLogout: p.page(methodLogout, p.logout),
		PathEnd:    p.page(methodEnd, p.end),

		PathBackchannel: http.HandlerFunc(p.backchannel),
	}
}

// page makes a handler of serve, which either answers or returns why it does not.
func (p *Pages) page(method string, serve func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.header(w)
		err := p.Guard.Page(r.Context(), method, func(ctx context.Context) error { return serve(w, r.WithContext(ctx)) })
		if err != nil {
			p.fail(w, r, err)
		}
	})
}

// who returns the session of the browser that makes a request, and its secret; a
// *authn.RefusedError when it has none that holds.
func (p *Pages) who(r *http.Request) (session.Record, session.Secret, error) {
	secret, err := p.Accept.Secret(r)
	if err != nil {
		return session.Record{}, session.Secret{}, err
	}
	rec, err := p.Accept.Verify(r.Context(), secret)
	return rec, secret, err
}

// nobody reports whether err means that no session holds, as against that this
// could not be judged.
func nobody(err error) bool {
	_, ok := errors.AsType[*authn.RefusedError](err)
	return ok
}

func (p *Pages) setCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // it is secure but on this machine without TLS
		Name: p.cfg.cookie(name), Value: value, Path: "/", MaxAge: seconds, Secure: p.cfg.secure(), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// drop has the browser forget a cookie.
func (p *Pages) drop(w http.ResponseWriter, name string) { p.setCookie(w, name, "", -1) }

// leave sends the browser to a path of this gateway: as a whole address, so that it
// can be taken for no other's.
func (p *Pages) leave(w http.ResponseWriter, path string) { redirect(w, p.cfg.PublicURL+path) }

func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// single returns the only value of a parameter; ok is false when there are several.
func single(values []string) (value string, ok bool) {
	switch len(values) {
	case 0:
		return "", true
	case 1:
		return values[0], true
	default:
		return "", false
	}
}

// knownError returns an error's code if it is one of RFC 6749 (section 4.1.2.1) and OpenID Connect Core
// 1.0 (section 3.1.2.6): others are not repeated.
func knownError(code string) string {
	if slices.Contains([]string{
		"access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope", "server_error",
		"temporarily_unavailable", "interaction_required", "login_required", "account_selection_required", "consent_required",
	}, code) {
		return code
	}
	return "an error of another name"
}
