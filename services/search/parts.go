package search

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/discovery/resolver"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/expiry"
	"github.com/poterne/poterne/services/search/internal/imports"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/lexical"
	"github.com/poterne/poterne/services/search/internal/metrics"
	"github.com/poterne/poterne/services/search/internal/presence"
	"github.com/poterne/poterne/services/search/internal/rebuild"
	"github.com/poterne/poterne/services/search/internal/store"
	"github.com/poterne/poterne/services/search/internal/tokens"
)

func insertIdentity(chain grpcserver.Chain, step grpcserver.Interceptor) grpcserver.Chain {
	at := slices.IndexFunc(chain, func(i grpcserver.Interceptor) bool { return i.Name == grpcserver.NameValidate })
	return slices.Insert(chain, max(0, at), step)
}

// sweeper returns what removes documents that have ended.
func (s *Service) sweeper() *expiry.Sweeper {
	return expiry.New(expiry.Options{
		Store: s.store, Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Interval: s.cfg.Expiry.Interval, Batch: s.cfg.Expiry.Batch, Removed: s.follower.Notify,
	})
}

// announcer returns what tells other processes which indexes this one has.
func (s *Service) announcer() *presence.Announcer {
	return presence.New(presence.Options{
		Store: s.store, Indexes: s.follower, Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Process: s.process, Poll: s.cfg.Index.PollInterval, Lease: s.cfg.Embedding.Rebuild.Lease,
	})
}

// newImporter returns the importer over an ingester.
func (s *Service) newImporter(to *ingest.Ingester) *imports.Importer {
	cfg := s.cfg.Import
	return imports.New(imports.Options{
		Collections: s.store, Ingester: to, Indexes: s.follower, Clock: s.opts.clock,
		BatchDocuments: cfg.BatchDocuments, BatchBytes: cfg.BatchBytes.Int(), Window: cfg.Window,
		Linger: importLinger, Heartbeat: cfg.Heartbeat, Idle: cfg.IdleTimeout, Patience: cfg.Patience,
		Streams: cfg.Streams, TenantStreams: cfg.TenantStreams,
	})
}

// newCounter returns what counts the tokens of passages.
func (s *Service) newCounter(by tokens.Tokeniser) *tokens.Counter {
	return tokens.New(tokens.Options{
		Tokeniser: by, Clock: s.opts.clock, Counted: s.metrics.TokensCounted, Estimated: s.metrics.TokensEstimated,
	})
}

// importLinger is how long a batch of an import waits for more documents: less
// than embedding one takes.
const importLinger = 20 * time.Millisecond

// newBuilder returns the builder of embedding generations, whose calls have less
// to them and wait behind the others'.
func (s *Service) newBuilder(inference grpc.ClientConnInterface, cutter rebuild.Cutter) *rebuild.Builder {
	cfg := s.cfg.Embedding
	return rebuild.New(rebuild.Options{
		Store: s.store, Cutter: cutter, Indexes: s.follower, Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Embedder: embedding.New(inferencev1.NewInferenceServiceClient(inference), embedding.Options{
			Batch: cfg.Rebuild.Batch, BatchBytes: cfg.BatchBytes.Int(), Concurrency: cfg.Rebuild.Concurrency,
			PassageTimeout: cfg.PassageTimeout, QueryTimeout: cfg.QueryTimeout, Background: true,
		}),
		Holder: s.process, Poll: s.cfg.Index.PollInterval, Lease: cfg.Rebuild.Lease,
		ChunksPerSecond: cfg.Rebuild.ChunksPerSecond, Share: cfg.Rebuild.Share, CallChunks: cfg.Rebuild.Batch * cfg.Rebuild.Concurrency, GroupDocuments: 4 * cfg.Rebuild.Batch * cfg.Rebuild.Concurrency,
		GroupBytes: cfg.BatchBytes.Int(), MaxCollectionChunks: s.cfg.Limits.CollectionChunks, KeepRetired: cfg.KeepRetired,
		Progress: s.built, Suspended: s.metrics.BuildingSuspended,
	})
}

// watchPostings reports how often an index that has lists of words in memory finds
// them there.
func (s *Service) watchPostings(idx index.Index) error {
	from, ok := idx.(interface{ Postings() lexical.CacheStats })
	if !ok {
		return nil
	}
	stop, err := s.metrics.WatchPostings(func() metrics.Postings { return metrics.Postings(from.Postings()) })
	if err == nil {
		s.closers = append(s.closers, stop)
	}
	return err
}

// built reports how far the building of embedding generations is, with each state
// that there may be.
func (s *Service) built(ctx context.Context, p store.Progress) {
	generations := make(map[string]int)
	for _, state := range []store.State{store.Building, store.Ready, store.Serving, store.Retired, store.Failed, store.Removing} {
		generations[string(state)] = p.Generations[state]
	}
	s.metrics.Built(ctx, metrics.Building{Generations: generations, Done: p.Done, All: p.Total, Failed: p.Failed, Rate: p.Rate})
}

// inferenceConn returns the connection to the inference service, on which every
// call says on whose behalf it is made, or that it is the service's own.
func (s *Service) inferenceConn() (grpc.ClientConnInterface, error) {
	cfg := grpcclient.DefaultConfig()
	cfg.TLS = s.cfg.Inference.TLS
	caller := s.identity.Forward(InferenceName)
	if s.opts.inference != nil {
		return grpcclient.Intercept(InferenceName, s.opts.inference, cfg, s.opts.telemetry, caller), nil
	}
	conn, err := grpcclient.Dial(resolver.Target(InferenceName), cfg, s.opts.telemetry, caller,
		grpcclient.WithResolvers(resolver.New(s.discovery, s.opts.telemetry.Logger)),
		grpcclient.WithIdempotent(
			inferencev1.InferenceService_Embed_FullMethodName, inferencev1.InferenceService_Rerank_FullMethodName,
			inferencev1.InferenceService_CountTokens_FullMethodName))
	if err != nil {
		return nil, fmt.Errorf("dial the inference service: %w", err)
	}
	s.closers = append(s.closers, conn.Close)
	return conn, nil
}
