package allinone

import (
	"context"
	"encoding/base64"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge"
)

// gate is an edge with the real services behind it and a policy that has one more
// role: `custom` may do everything in its own tenant, and everything in the
// registry and with workers, so that only the services keep it from other tenants'
// things.
type gate struct {
	t     *testing.T
	edge  *edge.Service
	conn  grpc.ClientConnInterface
	url   string
	admin string // the platform's administrator's key
	store sqldb.Config
	// unknown is a key of another edge, as well-formed as this one's.
	unknown string
}

const customRole = `
p, role:custom, own, *, *, *, true, allow
p, role:custom, any, registry-model|registry-version|registry-variant|registry-alias|registry-split|registry-prompt, *, *, true, allow
p, role:custom, any, registry-experiment|registry-results|registry-rollout|registry-webhook|registry-archive, *, *, true, allow
p, role:custom, any, registry-change|registry-upload|registry-artifact|worker, *, *, true, allow
`

func newGate(t *testing.T) *gate {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.Engine = t.TempDir(), EngineSim
	dir, err := openDataDir(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.close() })
	p := &platform{
		cfg: cfg, version: "test", out: new(output), dir: dir, clock: clock.Real(), telemetry: telemetry.Discard(),
		readiness: health.NewReadiness(clock.Real()), discovery: discovery.NewMemory(),
	}
	if err := p.compose(t.Context()); err != nil {
		t.Fatal(err)
	}
	ec := edge.DefaultConfig()
	ec.DataDir = t.TempDir()
	ec.Security.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(ec.DataDir, "edge.db"))
	ec.Security.Limits.RequestsPerMinute, ec.Security.Limits.Address.RequestsPerMinute = 1e6, 0
	ec.Security.Webhooks.Key = config.Secret("m1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)))
	ec.Security.Authz.PolicyFile = filepath.Join(ec.DataDir, "policy.csv")
	if err := os.WriteFile(ec.Security.Authz.PolicyFile, []byte(customRole), 0o600); err != nil {
		t.Fatal(err)
	}
	withSessions(ec)
	if err := ec.Complete(); err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, store: ec.Security.Store, unknown: readKey(t, cfg.DataDir)}
	if g.edge, err = edge.New(t.Context(), *ec, edge.WithTelemetry(p.telemetry), edge.WithReadiness(p.readiness), edge.WithDiscovery(p.discovery),
		edge.WithInferenceConn(p.inferenceConn), edge.WithRegistryConn(p.registryConn),
		edge.WithSearchConn(inproc.New(p.search.Interceptors(), p.search.RegisterGRPC))); err != nil {
		t.Fatal(err)
	}
	g.run(slices.Concat(p.registry.Components(), p.worker.Components(), p.inference.Components(), p.search.Components(),
		p.edge.Components(), g.edge.Components(), []lifecycle.Component{{Name: "models", Run: func(ctx context.Context) error {
			return register(ctx, registryv1.NewRegistryServiceClient(p.registryConn), p.brought)
		}}}))
	g.conn = inproc.New(g.edge.Interceptors(), g.edge.RegisterGRPC)
	server := httptest.NewServer(g.edge.Handler())
	t.Cleanup(server.Close)
	g.url, g.admin = server.URL, readKey(t, ec.DataDir)
	return g
}

func (g *gate) run(comps []lifecycle.Component) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, lifecycle.Options{DrainTimeout: time.Second, StopTimeout: 15 * time.Second}, comps...)
	}()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("the platform ended with %v", err)
		}
	})
}

// roles are those of the other tenants' callers; nobody has no key.
const nobody = "nobody"

func roles() []string { return []string{"reader", "developer", "approver", "admin", "custom", nobody} }

// TestTenantsAreIsolated has a caller of every role, of another tenant, ask every
// method about what one tenant has, by gRPC and by REST. Each answer must be that
// for what is not there, and no answer may hold a byte of what only the tenant
// knows.
func TestTenantsAreIsolated(t *testing.T) {
	g := newGate(t)
	a := g.acme()
	methods := g.methods(a)
	a.checkOwner(methods)
	for _, over := range []transport{overGRPC{g}, overREST{g}} {
		for _, role := range roles() {
			tenant, key := "other-"+role+"-"+over.name(), ""
			if role != nobody {
				_, key = g.key(tenant, "eve", role, "a key")
			}
			for _, m := range methods {
				a.isolated(over, role, key, m)
			}
			if key != "" {
				_, root := g.key(tenant, "root", "admin", "another key")
				trail, err := g.rest("GET", "/v1/admin/audit?page_size=1000", root, "")
				if err != nil || trail.code != "200" {
					t.Fatalf("the audit of %s: %+v, %v", tenant, trail, err)
				}
				a.tellsNothing(tenant+"'s audit", trail)
				whole, err := g.rest("GET", "/v1/admin/audit:export", root, "")
				if err != nil || whole.code != "200" {
					t.Fatalf("the export of %s: %+v, %v", tenant, whole, err)
				}
				a.tellsNothing(tenant+"'s export", whole)
			}
		}
	}
	a.checkOwner(methods) // nothing was changed, either
	g.checkPlatform()
}

// isolated asks a method about what is there, and about what is not.
func (a *acme) isolated(over transport, role, key string, m method) {
	there, err := over.call(key, m, a.names)
	if err != nil {
		a.g.t.Fatalf("%s as %s over %s: %v", m.name, role, over.name(), err)
	}
	if there == nil { // not served that way
		return
	}
	what := m.name + m.variant + " as " + role + " over " + over.name()
	a.tellsNothing(what, *there)
	if role == nobody && !m.public && there.code != "Unauthenticated" && there.code != "401" {
		a.g.t.Errorf("%s is answered: %s", what, a.normal(*there))
	}
	if m.platform && (there.code == "OK" || there.code == "200") {
		a.g.t.Errorf("%s is answered: %s", what, a.normal(*there))
	}
	if m.shared != "" || m.nothing != "" {
		return
	}
	absent, err := over.call(key, m, a.absent)
	if err != nil {
		a.g.t.Fatalf("%s: %v", what, err)
	}
	was, is := a.normal(*there), a.normal(*absent)
	if was != is {
		a.g.t.Errorf("%s tells what is there from what is not:\n  there:  %s\n  absent: %s", what, was, is)
	}
}

// tellsNothing holds an answer against what only the tenant knows.
func (a *acme) tellsNothing(what string, got answer) {
	for _, part := range []string{got.body, got.headers} {
		if at := strings.Index(part, marker); at >= 0 {
			a.g.t.Errorf("%s tells of another tenant: …%s…", what, part[max(0, at-80):min(len(part), at+80)])
		}
	}
}

// checkOwner holds that the requests are about what is there: those that only read
// are answered, to the tenant's own caller.
func (a *acme) checkOwner(methods []method) {
	for _, m := range methods {
		if !m.reads || m.shared != "" || m.nothing != "" || m.platform {
			continue
		}
		got, err := overGRPC{a.g}.call(a.owner, m, a.names)
		if err != nil || got.code != "OK" {
			a.g.t.Errorf("%s%s, asked by its owner: %+v, %v", m.name, m.variant, got, err)
		} else if m.tells && !strings.Contains(got.body, marker) {
			a.g.t.Errorf("%s%s tells its owner nothing: %s", m.name, m.variant, got.body)
		}
	}
}
