// Package rpc is the gRPC face of search: it reads who calls, and turns
// messages into what the other packages understand and back. Start reading at
// Server.
package rpc

import (
	"context"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/counts"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/imports"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/metrics"
	"github.com/poterne/poterne/services/search/internal/query"
	"github.com/poterne/poterne/services/search/internal/rebuild"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Options is what a server needs.
type Options struct {
	Store    *store.Store
	Ingester *ingest.Ingester
	Importer *imports.Importer
	Searcher *query.Searcher
	Follower *follow.Follower
	// Counts says how much of a collection a caller may read.
	Counts *counts.Counts
	// Builder builds embedding generations and switches between them.
	Builder *rebuild.Builder
	Metrics *metrics.Metrics
	Clock   clock.Clock
	IDs     ids.Source
	// Models knows which models embed.
	Models Models
	// EmbeddingModel is that of collections which name none.
	EmbeddingModel string
	// MaxCollections bounds a tenant's collections.
	MaxCollections int
	// MaxCollectionChunks bounds the passages of a collection that is restored.
	MaxCollectionChunks int
	// MaxRestoreBytes bounds a backup that is restored, and SpoolDir is where it is
	// kept until all of it is there; "" for the system's directory of such files.
	MaxRestoreBytes int64
	SpoolDir        string
}

// Models is what a server needs to know of models; *embedding.Client is one.
type Models interface {
	// Check returns why a new collection cannot be embedded with the model.
	Check(ctx context.Context, model string) error
}

// Server implements SearchService.
type Server struct {
	searchv1.UnimplementedSearchServiceServer
	o Options
}

// New returns a server.
func New(o Options) *Server { return &Server{o: o} }

// caller is who calls, and whom access lists may name to let them read.
type caller struct {
	tenant     string
	principals []string
	admin      bool
}

// roleAdmin is the role of those who administer their tenant.
const roleAdmin = "admin"

// writes returns which documents the caller may replace and remove. Reading is
// by access lists alone, also for administrators.
func (c caller) writes() store.Rights {
	return store.Rights{Principals: c.principals, All: c.admin}
}

// callerOf returns the caller. A call without one is refused: nobody's data
// can be told apart then.
func callerOf(ctx context.Context) (caller, error) {
	c, ok := identity.FromContext(ctx)
	if !ok || c.Tenant == "" {
		return caller{}, apierr.New(apierr.Unauthenticated, "the call does not say on whose behalf it is made")
	}
	principals := append(slices.Clone(c.Principals), identity.Public, "tenant:"+c.Tenant)
	slices.Sort(principals)
	return caller{tenant: c.Tenant, principals: slices.Compact(principals), admin: c.HasRole(roleAdmin)}, nil
}

// collection returns the caller and the collection of their tenant.
func (s *Server) collection(ctx context.Context, id string) (caller, store.Collection, error) {
	who, err := callerOf(ctx)
	if err != nil {
		return caller{}, store.Collection{}, err
	}
	c, err := s.o.Store.Collection(ctx, who.tenant, id)
	return who, c, err
}
