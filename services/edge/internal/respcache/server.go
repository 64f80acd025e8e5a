package respcache

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// ServerDeps is what a Server works with.
type ServerDeps struct {
	// Cache may be nil: nothing is kept, and nothing else is needed.
	Cache *Cache
	// Keys is where those are looked for of the tenants that purges name.
	Keys apikey.Lister
	// Model reports whether a tenant knows a model of this name; true where nobody can
	// tell.
	Model func(tenant, name string) bool
	// Collection reports whether a tenant has a collection of this id, for the caller of
	// ctx; true where nobody can tell.
	Collection func(ctx context.Context, tenant, id string) bool
	Clock      clock.Clock
}

// Server is edge.v1.CacheService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedCacheServiceServer

	cache *Cache // nil: nothing is kept
	d     ServerDeps
}

// NewServer returns a server of a cache.
func NewServer(d ServerDeps) *Server { return &Server{cache: d.Cache, d: d} }

func tenantOf(ctx context.Context, named string) string {
	if named != "" {
		return named
	}
	c, _ := identity.FromContext(ctx)
	return c.Tenant
}

// PurgeCache implements edgev1.CacheServiceServer.
func (s *Server) PurgeCache(ctx context.Context, req *edgev1.PurgeCacheRequest) (*edgev1.PurgeCacheResponse, error) {
	if s.cache == nil {
		return nil, apierr.New(apierr.FailedPrecondition, "there is no response cache: cache.enabled is not set")
	}
	p := Purge{Tenant: tenantOf(ctx, req.GetTenant()), Model: req.GetModel(), Collection: req.GetCollection()}
	for field, name := range map[string]string{"tenant": p.Tenant, "model": p.Model, "collection": p.Collection} {
		if strings.ContainsFunc(name, unicode.IsControl) {
			return nil, apierr.Invalid(field, "%s must not have control characters", field)
		}
	}
	audit.From(ctx).SetResource("cache " + p.Tenant)
	warnings, err := s.warnings(ctx, p)
	if err != nil {
		return nil, err
	}
	done, err := s.cache.Purges.Add(ctx, p)
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "the purge cannot be kept")
	}
	return &edgev1.PurgeCacheResponse{Tenant: done.Tenant, Revision: done.Revision, Warnings: warnings}, nil
}

// warnings is why a purge may be about no answers. It is done all the same: tokens may be
// of a tenant that no API key is of, and what a model answered may be kept when it is gone.
func (s *Server) warnings(ctx context.Context, p Purge) ([]string, error) {
	var out []string
	c, _ := identity.FromContext(ctx)
	if p.Tenant != AllTenants && p.Tenant != c.Tenant {
		held, err := apikey.Held(ctx, s.d.Keys, p.Tenant, s.d.Clock.Now(), func(apikey.Record) bool { return true })
		if err != nil {
			return nil, apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer")
		}
		if !held {
			out = append(out, fmt.Sprintf("the tenant %q has no API key now: unless tokens are of it, it has no answers to purge", p.Tenant))
		}
	}
	of := p.Tenant
	if of == AllTenants {
		of = c.Tenant // who purges all knows all
	}
	if p.Model != "" && !s.d.Model(of, p.Model) {
		out = append(out, fmt.Sprintf("there is no model %q now: only answers are purged that one of this name gave before", p.Model))
	}
	if p.Collection != "" && p.Tenant != AllTenants && !s.d.Collection(ctx, p.Tenant, p.Collection) {
		out = append(out, fmt.Sprintf("the tenant %q has no collection %q now: only answers are purged that rest on one of this name", p.Tenant, p.Collection))
	}
	return out, nil
}

// GetCacheStats implements edgev1.CacheServiceServer.
func (s *Server) GetCacheStats(ctx context.Context, req *edgev1.GetCacheStatsRequest) (*edgev1.GetCacheStatsResponse, error) {
	tenant := tenantOf(ctx, req.GetTenant())
	out := &edgev1.GetCacheStatsResponse{Tenant: tenant, Enabled: s.cache != nil}
	if s.cache == nil {
		return out, nil
	}
	t := s.cache.tallies.of(tenant)
	out.Hits, out.SemanticHits, out.Stale, out.Misses, out.Bypasses = t.Hits, t.Semantic, t.Stale, t.Misses, t.Bypasses
	out.HitRatio, out.SavedPromptTokens, out.SavedCompletionTokens = t.ratio(), t.Prompt, t.Completion
	if tenant == AllTenants {
		out.Entries, out.Bytes = s.cache.InMemory()
	}
	return out, nil
}
