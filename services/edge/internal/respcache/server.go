package respcache

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// Server is edge.v1.CacheService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedCacheServiceServer

	cache *Cache // nil: nothing is kept
}

// NewServer returns a server of a cache, which may be nil.
func NewServer(c *Cache) *Server { return &Server{cache: c} }

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
	audit.From(ctx).SetResource("cache " + p.Tenant)
	done, err := s.cache.Purges.Add(ctx, p)
	if err != nil {
		return nil, apierr.Wrap(apierr.Unavailable, err, "the purge cannot be kept")
	}
	return &edgev1.PurgeCacheResponse{Tenant: done.Tenant, Revision: done.Revision}, nil
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
