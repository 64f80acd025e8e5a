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
	"path/filepath"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/admin"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/auditcontent"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/issue"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitserver"
	"github.com/poterne/poterne/services/edge/internal/login"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/middleware"
	"github.com/poterne/poterne/services/edge/internal/models"
	"github.com/poterne/poterne/services/edge/internal/policy"
	"github.com/poterne/poterne/services/edge/internal/policyserver"
	"github.com/poterne/poterne/services/edge/internal/possession"
	"github.com/poterne/poterne/services/edge/internal/requests"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/responseid"
	"github.com/poterne/poterne/services/edge/internal/route"
	"github.com/poterne/poterne/services/edge/internal/routeserver"
	"github.com/poterne/poterne/services/edge/internal/schema"
	"github.com/poterne/poterne/services/edge/internal/serving"
	"github.com/poterne/poterne/services/edge/internal/session"
	"github.com/poterne/poterne/services/edge/internal/usage"
	"github.com/poterne/poterne/services/edge/internal/webhook"
)

// AdminKeyFile is the name of the file that the first key is written to.
const AdminKeyFile = "admin.key"

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
	// Search is asked whether there is a collection.
	Search searchv1.SearchServiceClient
	// PolicyProblems is told which tenants' policies could not be loaded, and why; nil
	// when nobody wants to know.
	PolicyProblems func(problems map[string]string)
	// ModelProblem is told when what is known of models is not the registry's present
	// state, and with "" when it is; nil when nobody wants to know.
	ModelProblem func(problem string)
	// OpenRedis connects to the Redis where replicas share their limits; nil when
	// none can be configured.
	OpenRedis func(limit.RedisConfig) limit.Scripts
	// Edges delivers how many replicas discovery knows, until ctx ends; nil when it does
	// not know of replicas.
	Edges func(ctx context.Context) <-chan int
	// OpenSharedCache connects to the store where replicas share answers; nil when none
	// can be configured.
	OpenSharedCache func(respcache.SharedConfig) (respcache.Shared, error)
	// OpenRules compiles the firewall's rule set; nil when this program has none.
	OpenRules func(firewall.Config) (firewall.Engine, error)
}

// Security is everything put together.
type Security struct {
	// Admin is the AdminService and the ServiceAccountService.
	Admin *admin.Server
	// Policies is the PolicyService.
	Policies *policyserver.Server
	// Sessions is the SessionService, and Login the pages of people who log in; nil
	// when nobody can.
	Sessions *session.Server
	Login    *login.Pages
	// Responses makes the ids of answers and reads them.
	Responses *responseid.Signer
	// Addresses finds a request's client; the HTTP side uses it too.
	Addresses *clientaddr.Resolver
	// Possession judges proofs; the HTTP side uses it too.
	Possession *possession.Checker
	// Bans is whose requests are refused, and BanAdmin the service about them.
	Bans     *ban.Manager
	BanAdmin *ban.Server
	// Cache is the response cache, nil when there is none, and CacheAdmin the service
	// about it.
	Cache      *respcache.Cache
	CacheAdmin *respcache.Server
	// Serving remembers what would answer; nil: the cache asks each time.
	Serving *serving.Memory
	// Contents keeps calls' contents, nil when there is no master key, and ContentAdmin
	// is the service about them.
	Contents     *auditcontent.Keeper
	ContentAdmin *auditcontent.Server
	// Routes finds the route of a request, and Allowance says whether another model than
	// it names may answer it. RouteAdmin is the RouteService.
	Routes     *route.Router
	Allowance  *allowance
	RouteAdmin *routeserver.Server
	// LimitAdmin is the LimitService.
	LimitAdmin *limitserver.Server
	// Requests is the RequestService.
	Requests *requests.Server
	// Firewall judges requests over HTTP; nil when it is off.
	Firewall *firewall.Firewall
	// Calls is the calls in hand; what serves them cuts them when its time is over.
	Calls *inhand.Calls
	// Metrics counts what the steps and the detectors do.
	Metrics *metrics.Metrics
	// DB is the edge's store.
	DB *sqldb.DB
	// Meters are asked before a model works, in their order.
	Meters metering.Meters
	// Usage is the UsageService.
	Usage *usage.Server
	// Webhooks is the WebhookService.
	Webhooks *webhook.Server
	// AdminKeyPath is where the first key was written; empty when there was one
	// before.
	AdminKeyPath string

	deps   middleware.Deps
	tokens TokensConfig
	keys   *apikey.Manager
	issue  *issue.Service   // nil: no tokens are issued
	web    *session.Manager // nil: nobody can log in
	usage  *usage.Usage     // nil: nothing is billed
	hooks  []lifecycle.Component
	trail  *audit.Trail
	inHand *audit.InHand
	rules  *policy.Follower
	models *models.Follower
	// dryRuns tells other replicas what this one sees of them.
	dryRuns *policy.Reporter
	limits  limits
	routes  lifecycle.Component
	proof   auditProof
	close   []func() error
}

// New opens the store and makes the first key if there never was one. Close
// releases what it opened; the parts in Components work in the background.
func New(ctx context.Context, cfg Config, d Deps) (s *Security, err error) {
	log := d.Telemetry.Logger
	if d.Random == nil {
		d.Random = rand.Reader
	}
	s = &Security{Calls: inhand.New(), inHand: new(audit.InHand), tokens: cfg.Tokens} //nolint:contextcheck // what calls have in common is no request's
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("edge: open the security: %w", err), s.Close())
		}
	}()
	m, err := metrics.New(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return s, err
	}
	s.Metrics = m
	db, err := schema.Open(ctx, cfg.Store, log)
	if err != nil {
		return s, err
	}
	s.DB, s.close = db, append(s.close, db.Close)
	if s.Responses, err = responseid.Load(ctx, db, d.Random); err != nil {
		return s, err
	}
	if s.keys, err = openKeys(ctx, cfg, d, apikey.NewSQLStore(db), m); err != nil {
		return s, err
	}
	if err := s.bootstrap(ctx, cfg, d, log); err != nil {
		return s, err
	}
	proxies, err := cfg.Limits.Proxies()
	if err != nil {
		return s, err
	}
	s.Addresses = clientaddr.NewFor(proxies, cfg.Limits.ForwardedHeader)
	if err := s.openPossession(ctx, cfg.Tokens, d, db); err != nil {
		return s, err
	}
	authenticators, err := s.openAuthenticators(cfg, d, db)
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
	if err := s.openPolicies(ctx, cfg.Authz, d, db, authorizer); err != nil {
		return s, err
	}
	if err := s.openTrail(ctx, cfg, d, db, m); err != nil {
		return s, err
	}
	if err := s.openContents(ctx, cfg, d, db); err != nil {
		return s, err
	}
	authorizer.AskFacts(func(ctx context.Context) authz.Facts { return facts(ctx, d.Clock, s.Addresses) })
	if err := s.openBans(ctx, cfg.Abuse.Bans, d, db); err != nil {
		return s, err
	}
	if err := s.openCache(ctx, cfg.Cache, d, db); err != nil {
		return s, err
	}
	s.Admin = admin.New(admin.Deps{
		Keys: s.keys, Accounts: s.keys, Trail: s.trail, IDs: d.IDs, Records: s.listing(), Proof: s.prover(), TenantProofs: cfg.Audit.TenantProofs, Authorizer: authorizer, Inference: d.Inference, Variants: d.Registry, Clock: d.Clock, Log: log,
	})
	s.Requests = requests.New(requests.Deps{
		Records: s.found(), InHand: s.inHand, Authz: authorizer, Clock: d.Clock, Patience: min(2*cfg.Audit.FlushInterval+maxOnTheWay/2, maxOnTheWay),
	})
	if err := s.openLimits(ctx, cfg, d, db, m); err != nil {
		return s, err
	}
	if err := s.openRoutes(ctx, cfg, d, db, authorizer); err != nil {
		return s, err
	}
	if s.Firewall, err = openFirewall(ctx, cfg.Firewall, d); err != nil {
		return s, err
	}
	s.deps = middleware.Deps{
		Config: cfg.Limits, Clock: d.Clock, IDs: d.IDs, Log: log, Metrics: m, Addresses: s.Addresses,
		Explain: cfg.Audit.Explain, InHand: s.inHand,
		Bans: s.Bans, Trail: s.trail, Contents: s.Contents != nil, Calls: s.Calls, Authenticator: authenticators, Authorizer: authorizer,
		Possession: s.Possession, Challenges: challenges(cfg.Tokens),
		AddressLimiter: limit.NewMemory(d.Clock, cfg.Limits.Address.MaxAddresses),
		Limits:         s.limits.engine,
	}
	if err := s.openUsage(ctx, cfg, d, db); err != nil {
		return s, err
	}
	err = s.openLogin(ctx, cfg, d, db, m)
	return s, err
}

func openKeys(ctx context.Context, cfg Config, d Deps, store apikey.Store, m *metrics.Metrics) (*apikey.Manager, error) {
	peppers, err := apikey.OpenPeppers(ctx, cfg.Keys, filepath.Join(d.DataDir, apikey.PepperFile), store, d.Random, d.Clock.Now())
	if err != nil {
		return nil, err
	}
	return apikey.NewManager(ctx, cfg.Keys, peppers, store, d.Clock, d.Random, d.Telemetry.Logger, m)
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
	}
	out = append(out, s.auditComponents()...)
	if s.usage != nil {
		out = append(out, s.usage.Components()...)
	}
	out = append(out, s.hooks...)
	out = append(out, s.rules.Component(), s.models.Component(), s.dryRuns.Component())
	out = append(out, s.keys.Components()...)
	if s.issue != nil {
		out = append(out, s.issue.Component())
	}
	if s.web != nil {
		out = append(out, s.web.Components()...)
	}
	out = append(out, s.Bans.Components()...)
	if s.Cache != nil {
		out = append(out, s.Cache.Purges.Component())
	}
	out = append(append(out, s.limits.components...), s.routes)
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
