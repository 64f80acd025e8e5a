// Package server is the registry's API over its store and feed: it reads
// requests, applies the rules that the contract's annotations cannot say, and
// pages lists. Calls reach it through the service's chain, which has validated
// them. Start reading at Server.
package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/signing"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/feed"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// overloadedFor is how long a watcher that found no room should wait.
const overloadedFor = 2 * time.Second

// Server serves poterne.registry.v1.RegistryService. It is safe for concurrent
// use.
type Server struct {
	registryv1.UnimplementedRegistryServiceServer

	store       *store.Store
	feed        *feed.Feed
	opts        Options
	evidence    *evidence.Keeper
	maxWatchers int64
	watchers    atomic.Int64
	// wakeWebhooks tells that a message to a webhook may be sent at once.
	wakeWebhooks func()
	judge        rollout.Judge
	archiving    sync.Mutex
}

// Options is what a Server is told.
type Options struct {
	// MaxWatchers is how many may watch at once.
	MaxWatchers int
	// PlatformTenant is the tenant whose callers see the models of all.
	PlatformTenant string
	// Signatures says whose signatures are taken.
	Signatures signing.Policy
	// WakeWebhooks is called when a message to a webhook may be sent; it must not
	// block.
	WakeWebhooks func()
	// WakeRollouts is called when there is something new to judge a rollout by; it
	// must not block.
	WakeRollouts func()
	// Judge says what the requests of rollouts came to.
	Judge rollout.Judge
	// Validator holds to the contract's rules what comes in archives.
	Validator protovalidate.Validator
	// Sources says what InspectSource reads.
	Sources Sources
}

// New returns a server on s, f and e.
func New(s *store.Store, f *feed.Feed, e *evidence.Keeper, opts Options) *Server {
	return &Server{store: s, feed: f, evidence: e, opts: opts, maxWatchers: int64(opts.MaxWatchers), wakeWebhooks: opts.WakeWebhooks, judge: opts.Judge}
}

// Watchers returns how many watch.
func (s *Server) Watchers() int64 { return s.watchers.Load() }

// Watch implements registryv1.RegistryServiceServer.
func (s *Server) Watch(req *registryv1.WatchRequest, stream grpc.ServerStreamingServer[registryv1.WatchResponse]) error {
	if s.watchers.Add(1) > s.maxWatchers {
		s.watchers.Add(-1)
		return apierr.New(apierr.Overloaded, "%d consumers watch this registry, as many as it serves", s.maxWatchers).
			WithRetryAfter(overloadedFor)
	}
	defer s.watchers.Add(-1)
	from := store.Position{Revision: req.GetFromRevision(), Etag: req.GetFromEtag()}
	return s.feed.Watch(stream.Context(), feed.Wanted{From: from, Prompts: req.GetPrompts()}, stream.Send)
}

// actor names the caller in the record of changes; "" when nobody is known.
func actor(ctx context.Context) string {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return ""
	}
	return c.Tenant + "/" + c.Subject
}
