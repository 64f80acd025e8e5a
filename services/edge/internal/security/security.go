// Package security puts the edge's security together: keys, policy, limits, the
// audit trail and the steps that ask them. Start reading at New.
package security

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/admin"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/responseid"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// AdminKeyFile is the name of the file that the first key is written to.
const AdminKeyFile = "admin.key"

// pruneInterval is how often old audit records are deleted.
const pruneInterval = time.Hour

// Config is the edge's sections about security.
type Config struct {
	// Store is where keys and the audit trail are kept.
	Store  sqldb.Config      `yaml:"store"`
	Keys   apikey.Config     `yaml:"api_keys"`
	Tokens oidc.Config       `yaml:"tokens"`
	Authz  authz.Config      `yaml:"authz"`
	Limits middleware.Config `yaml:"limits"`
	Audit  audit.Config      `yaml:"audit"`
	// Firewall is the rule set that requests over HTTP are judged by.
	Firewall firewall.Config `yaml:"waf"`
	// Abuse bounds what an address may do before anybody is known.
	Abuse AbuseConfig `yaml:"abuse"`
}

// DefaultConfig returns the defaults, with the store at dsn.
func DefaultConfig(dsn string) Config {
	return Config{
		Store: sqldb.DefaultConfig(dsn), Keys: apikey.DefaultConfig(), Tokens: oidc.DefaultConfig(), Authz: authz.DefaultConfig(),
		Limits: middleware.DefaultConfig(), Audit: audit.DefaultConfig(),
		Firewall: firewall.DefaultConfig(), Abuse: defaultAbuse(),
	}
}

// Complete fills what follows from other settings.
func (c *Config) Complete() { c.Tokens.Complete() }

// Validate notes what is wrong; prefix, which may be empty, is put before the
// sections' names.
func (c Config) Validate(p *config.Problems, prefix string) {
	c.Store.Validate(p, prefix+"store")
	c.Keys.Validate(p, prefix+"api_keys")
	c.Tokens.Validate(p, prefix+"tokens")
	c.Authz.Validate(p, prefix+"authz")
	c.Limits.Validate(p, prefix+"limits")
	c.Audit.Validate(p, prefix+"audit")
	c.Firewall.Validate(p, prefix+"waf")
	c.Abuse.validate(p, prefix+"abuse", len(c.Limits.TrustedProxies) > 0)
}

// Deps is what New needs besides its configuration.
type Deps struct {
	// DataDir is the directory for the first key's file.
	DataDir   string
	Telemetry *telemetry.Telemetry
	Clock     clock.Clock
	IDs       ids.Source
	// Random is where secrets come from; nil is crypto/rand.
	Random io.Reader
	// Inference is asked for the workers, and to quantise.
	Inference inferencev1.InferenceServiceClient
	// Registry is told of the variants that were made.
	Registry registryv1.RegistryServiceClient
	// OpenRedis connects to the Redis where replicas share their limits; nil when
	// none can be configured.
	OpenRedis func(limit.RedisConfig) limit.Scripts
	// OpenRules compiles the firewall's rule set; nil when this program has none.
	OpenRules func(firewall.Config) (firewall.Engine, error)
}

// Security is everything put together.
type Security struct {
	// Admin is the AdminService.
	Admin *admin.Server
	// Responses makes the ids of answers and reads them.
	Responses *responseid.Signer
	// Addresses finds a request's client; the HTTP side uses it too.
	Addresses *clientaddr.Resolver
	// Bans is whose requests are refused, and BanAdmin the service about them.
	Bans     *ban.Manager
	BanAdmin *ban.Server
	// Firewall judges requests over HTTP; nil when it is off.
	Firewall *firewall.Firewall
	// Calls is the calls in hand; what serves them cuts them when its time is over.
	Calls *inhand.Calls
	// AdminKeyPath is where the first key was written; empty when there was one
	// before.
	AdminKeyPath string

	deps  middleware.Deps
	keys  *apikey.Manager
	trail *audit.Trail
	prune func(ctx context.Context) error
	close []func() error
}

// New opens the store and makes the first key if there never was one. Close
// releases what it opened; the parts in Components work in the background.
func New(ctx context.Context, cfg Config, d Deps) (s *Security, err error) {
	log := d.Telemetry.Logger
	if d.Random == nil {
		d.Random = rand.Reader
	}
	s = &Security{Calls: inhand.New()}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("edge: open the security: %w", err), s.Close())
		}
	}()
	m, err := metrics.New(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return s, err
	}
	db, err := schema.Open(ctx, cfg.Store, log)
	if err != nil {
		return s, err
	}
	s.close = append(s.close, db.Close)
	if s.Responses, err = responseid.Load(ctx, db, d.Random); err != nil {
		return s, err
	}
	if s.keys, err = apikey.NewManager(ctx, cfg.Keys, apikey.NewSQLStore(db), d.Clock, d.Random, log, m); err != nil {
		return s, err
	}
	if err := s.bootstrap(ctx, cfg, d, log); err != nil {
		return s, err
	}
	authenticators, err := s.openAuthenticators(cfg, d, log)
	if err != nil {
		return s, err
	}
	policy, err := cfg.Authz.Policy()
	if err != nil {
		return s, err
	}
	authorizer, err := authz.New(cfg.Authz, policy, log)
	if err != nil {
		return s, err
	}
	records, err := s.openTrail(cfg, d, db, m)
	if err != nil {
		return s, err
	}
	proxies, err := cfg.Limits.Proxies()
	if err != nil {
		return s, err
	}
	s.Addresses = clientaddr.NewFor(proxies, cfg.Limits.ForwardedHeader)
	if err := s.openBans(ctx, cfg.Abuse.Bans, d, db); err != nil {
		return s, err
	}
	s.Admin = admin.New(admin.Deps{
		Keys: s.keys, Records: records, Authorizer: authorizer, Inference: d.Inference, Variants: d.Registry, Clock: d.Clock, Log: log,
	})
	limiter, err := s.openLimiter(cfg.Limits, d, log, m)
	if err != nil {
		return s, err
	}
	if s.Firewall, err = openFirewall(ctx, cfg.Firewall, d); err != nil {
		return s, err
	}
	s.deps = middleware.Deps{
		Config: cfg.Limits, Clock: d.Clock, IDs: d.IDs, Log: log, Metrics: m, Addresses: s.Addresses,
		Bans: s.Bans, Trail: s.trail, Calls: s.Calls, Authenticator: authenticators, Authorizer: authorizer,
		AddressLimiter: limit.NewMemory(d.Clock, cfg.Limits.Address.MaxAddresses),
		Limiter:        limiter,
	}
	return s, nil
}

// openAuthenticators returns what credentials are accepted: keys, and the tokens
// of the issuers that are trusted.
func (s *Security) openAuthenticators(cfg Config, d Deps, log *slog.Logger) (authn.Chain, error) {
	chain := authn.Chain{authn.NewAPIKeys(s.keys)}
	o := oidc.Options{Clock: d.Clock, Logger: log, Transport: http.DefaultTransport, PlatformTenant: cfg.Authz.PlatformTenant}
	if len(cfg.Tokens.Issuers) > 0 {
		tokens, err := oidc.New(cfg.Tokens, o)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, tokens.Close)
		chain = append(chain, tokens)
	}
	if cfg.Tokens.Introspection.URL != "" {
		opaque, err := oidc.NewIntrospector(cfg.Tokens.Introspection, cfg.Tokens.CacheSize, o)
		if err != nil {
			return nil, err
		}
		chain = append(chain, opaque) // the last: what nobody else knows is opaque
	}
	return chain, nil
}

func (s *Security) bootstrap(ctx context.Context, cfg Config, d Deps, log *slog.Logger) error {
	path := filepath.Join(d.DataDir, AdminKeyFile)
	created, err := s.keys.Bootstrap(ctx, cfg.Authz.PlatformTenant, path)
	if err != nil {
		return err
	}
	if created {
		s.AdminKeyPath = path
		log.InfoContext(ctx, "the first API key, an administrator's, was written", slog.String(metrics.KeyPath, path))
	}
	return nil
}

// openTrail returns how the trail can be read, or nil when it cannot.
func (s *Security) openTrail(cfg Config, d Deps, db *sqldb.DB, m *metrics.Metrics) (admin.Records, error) {
	if cfg.Audit.Sink == audit.SinkFile {
		sink, err := audit.OpenFileSink(cfg.Audit.File)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, sink.Close)
		s.trail = audit.NewTrail(cfg.Audit, sink, d.Clock, d.Telemetry.Logger, m)
		return nil, nil //nolint:nilnil // a file cannot be listed, which is no error
	}
	sink := audit.NewSQLSink(db)
	s.trail = audit.NewTrail(cfg.Audit, sink, d.Clock, d.Telemetry.Logger, m)
	if cfg.Audit.Retention > 0 {
		s.prune = func(ctx context.Context) error { return s.pruneOnce(ctx, cfg, d, sink) }
	}
	return s.trail.Listing(sink), nil
}

func (s *Security) pruneOnce(ctx context.Context, cfg Config, d Deps, sink *audit.SQLSink) error {
	n, err := sink.Prune(ctx, d.Clock.Now().Add(-cfg.Audit.Retention))
	if err != nil {
		// Tried again with the next turn; nothing depends on it before.
		d.Telemetry.Logger.ErrorContext(ctx, "old audit records cannot be deleted", telemetry.Err(err))
	} else if n > 0 {
		d.Telemetry.Logger.InfoContext(ctx, "old audit records deleted", slog.Int64(metrics.KeyRecords, n))
	}
	return nil
}

func (s *Security) openLimiter(cfg middleware.Config, d Deps, log *slog.Logger, m *metrics.Metrics) (limit.Limiter, error) {
	local := limit.NewMemory(d.Clock, cfg.Address.MaxAddresses)
	if cfg.Redis.Addr == "" {
		return local, nil
	}
	if d.OpenRedis == nil {
		return nil, errors.New("limits.redis.addr: this program is built without a Redis client; poterne-edge has one")
	}
	scripts := d.OpenRedis(cfg.Redis)
	s.close = append(s.close, scripts.Close)
	return limit.NewGuarded(limit.NewRedis(scripts), local, cfg.Redis.Timeout, func(ctx context.Context, err error) {
		m.LimitLocal(ctx)
		log.DebugContext(ctx, "this replica limits alone", telemetry.Err(err))
	}), nil
}

// Chain returns the steps from audit to deadline, with validate at its place.
func (s *Security) Chain(validate grpcserver.Interceptor) grpcserver.Chain {
	return middleware.Chain(s.deps, validate)
}

// Door returns the steps of Chain that come before a request's body is read.
func (s *Security) Door() *middleware.Door { return middleware.NewDoor(s.deps) }

// Components returns the parts that work in the background. Start them before
// whatever serves requests, so that the last records are still written: stopping
// waits for the calls in hand, then writes what they recorded, and then closes
// the stores.
func (s *Security) Components() []lifecycle.Component {
	out := []lifecycle.Component{
		{Name: "edge store", Stop: func(context.Context) error { return s.Close() }},
		s.trail.Component(),
		s.keys.Component(),
	}
	out = append(out, s.Bans.Components()...)
	if s.prune != nil {
		out = append(out, lifecycle.Component{Name: "audit retention", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, s.deps.Clock, pruneInterval, nil, s.prune)
		}})
	}
	return append(out, lifecycle.Component{Name: "edge: calls", Stop: s.endCalls})
}

// endTime bounds the wait for calls that were cut: they only have to notice.
const endTime = time.Second

func (s *Security) endCalls(ctx context.Context) error {
	s.Calls.Cut()
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	return s.Calls.Wait(ctx)
}

// Close releases what New opened. It may be called more than once.
func (s *Security) Close() error {
	var errs []error
	for _, release := range slices.Backward(s.close) {
		errs = append(errs, release())
	}
	s.close = nil
	return errors.Join(errs...)
}
