package security

import (
	"context"
	"fmt"
	"net/http"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/login"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/session"
	"github.com/poterne/poterne/services/edge/internal/sharedsecret"
)

// loginSecret is the row that holds the key of logins under way.
const loginSecret = "login"

// openLogin lets people log in, if the configuration has a provider; the other
// steps must be there.
func (s *Security) openLogin(ctx context.Context, cfg Config, d Deps, db *sqldb.DB, m *metrics.Metrics) error {
	log := d.Telemetry.Logger
	if cfg.Login.Enabled() {
		key, err := sharedsecret.Load(ctx, db, d.Random, loginSecret)
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		provider, err := oidc.NewProvider(cfg.Login.Provider, oidc.Options{
			Clock: d.Clock, Logger: log, Transport: http.DefaultTransport, PlatformTenant: cfg.Authz.PlatformTenant,
		})
		if err != nil {
			return err
		}
		s.close = append(s.close, provider.Close)
		s.web, err = session.NewManager(ctx, cfg.Login.Session, session.Deps{
			Store: session.NewSQLStore(db), Issuer: cfg.Login.Provider.Issuer, Clock: d.Clock, Random: d.Random, Log: log, Metrics: m,
		})
		if err != nil {
			return err
		}
		s.deps.Sessions = authn.NewSessions(s.web, cfg.Login.PublicURL, cfg.Login.SessionCookie())
		s.Login, err = login.New(cfg.Login, login.Deps{
			Provider: provider, Sessions: s.web, Accept: s.deps.Sessions, Guard: s.Door(), //nolint:contextcheck // each request has its own
			Key: key, Random: d.Random,
			Clock: d.Clock, Log: log, Metrics: m, Address: func(r *http.Request) string { return s.Addresses.FromContext(r.Context()).String() },
		})
		if err != nil {
			return err
		}
	}
	s.Sessions = session.NewServer(s.web, s.deps.Authorizer, func(ctx context.Context) string {
		p, _ := authn.FromContext(ctx)
		return p.SessionID
	}, log)
	return nil
}
