// Package search keeps collections of documents and searches them by words, by
// meaning, or by both, for those who may read them. Documents in SQL are the
// truth; indexes are derived from them. Vectors come from the inference
// service. Start reading at New, which puts the parts together.
package search

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/chunk"
	"github.com/poterne/poterne/services/search/internal/counts"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/extract"
	"github.com/poterne/poterne/services/search/internal/follow"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/metrics"
	"github.com/poterne/poterne/services/search/internal/query"
	"github.com/poterne/poterne/services/search/internal/querycache"
	"github.com/poterne/poterne/services/search/internal/rebuild"
	"github.com/poterne/poterne/services/search/internal/reranking"
	"github.com/poterne/poterne/services/search/internal/rpc"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Service is the search service, put together and not yet running.
type Service struct {
	cfg       Config
	opts      options
	readiness *health.Readiness
	discovery backend.Backend
	chain     grpcserver.Chain
	metrics   *metrics.Metrics
	identity  *assertion.Assertions

	store    *store.Store
	index    index.Index
	follower *follow.Follower
	builder  *rebuild.Builder
	process  string // names this process among those that share the store
	server   *rpc.Server

	closers []func() error // in the order of opening
}

// New puts the service together and opens its store and its index. It opens no
// port. cfg must be complete.
func New(ctx context.Context, cfg Config, opts ...Option) (*Service, error) {
	s := &Service{cfg: cfg, opts: newOptions(opts)}
	s.process = s.opts.ids.New()
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("search: %w", err), s.close())
	}
	return s, nil
}

func (s *Service) build(ctx context.Context) error {
	o := &s.opts
	if o.telemetry == nil {
		tel, err := telemetry.New(ctx, ServiceName, o.version, s.cfg.Telemetry)
		if err != nil {
			return err
		}
		o.telemetry = tel
		s.closers = append(s.closers, func() error { return tel.Shutdown(context.WithoutCancel(ctx)) })
	}
	if s.readiness = o.readiness; s.readiness == nil {
		s.readiness = health.NewReadiness(o.clock)
	}
	if s.discovery = o.discovery; s.discovery == nil {
		b, err := backend.Open(s.cfg.Discovery, o.clock, o.telemetry.Logger)
		if err != nil {
			return fmt.Errorf("open discovery: %w", err)
		}
		s.discovery = b
	}
	var err error
	if s.metrics, err = metrics.New(o.telemetry.Meter(metrics.Scope), o.telemetry.Logger); err != nil {
		return err
	}
	if s.identity, err = assertion.Open(assertion.Options{
		Service: ServiceName, Config: s.cfg.Identity, Access: access(), Clock: o.clock, Telemetry: o.telemetry,
	}); err != nil {
		return err
	}
	if s.chain, err = s.newChain(); err != nil { //nolint:contextcheck // its steps get each call's context
		return err
	}
	if err := s.openStore(ctx); err != nil {
		return err
	}
	if err := s.openIndex(); err != nil {
		return err
	}
	return s.newServer() //nolint:contextcheck // a connection's steps get each call's context
}

func (s *Service) openStore(ctx context.Context) error {
	db, err := sqldb.Open(ctx, s.cfg.Store)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	s.closers = append(s.closers, db.Close)
	s.store, err = store.New(ctx, db, s.opts.clock, s.opts.telemetry.Logger)
	return err
}

func (s *Service) openIndex() error {
	var err error
	if s.index, err = s.cfg.Index.open(s.opts.clock, s.opts.telemetry.Logger); err != nil {
		return err
	}
	s.follower = follow.New(follow.Options{
		Store: s.store, Index: s.index, Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Poll: s.cfg.Index.PollInterval, Followed: s.metrics.Followed,
	})
	s.closers = append(s.closers, s.follower.Close)
	return s.watchPostings(s.index)
}

func (s *Service) newServer() error {
	conn, err := s.inferenceConn()
	if err != nil {
		return err
	}
	cfg := s.cfg.Embedding
	inference := inferencev1.NewInferenceServiceClient(conn)
	embedder := embedding.New(inference, embedding.Options{
		Batch: cfg.Batch, BatchBytes: cfg.BatchBytes.Int(), Concurrency: cfg.Concurrency,
		PassageTimeout: cfg.PassageTimeout, QueryTimeout: cfg.QueryTimeout,
	})
	queries, err := querycache.New(querycache.Options{
		Embedder: embedder, Bytes: int64(cfg.QueryCacheBytes),
		Note: func(ctx context.Context, r querycache.Result) { s.metrics.QueryEmbedded(ctx, string(r)) },
	})
	if err != nil {
		return fmt.Errorf("remember queries: %w", err)
	}
	limits := extract.DefaultLimits()
	limits.CacheDir = s.cfg.Files.CacheDir
	extractor := extract.New(limits)
	s.closers = append(s.closers, extractor.Close)
	chunking := chunk.DefaultOptions()
	chunking.MaxWords, chunking.OverlapWords = s.cfg.Chunking.MaxWords, s.cfg.Chunking.OverlapWords
	ingester := ingest.New(ingest.Options{
		Store: s.store, Embedder: embedder, Extractor: extractor, Clock: s.opts.clock, Indexes: s.follower, Chunking: chunking, Counter: s.newCounter(embedder),
		MaxCollectionChunks: s.cfg.Limits.CollectionChunks, GroupChunks: 4 * cfg.Batch * cfg.Concurrency,
	})
	readable, err := counts.New(counts.Options{
		Store: s.store, Clock: s.opts.clock,
		Note: func(ctx context.Context, r counts.Result) { s.metrics.Counted(ctx, string(r)) },
	})
	if err != nil {
		return err
	}
	s.builder = s.newBuilder(conn, ingester)
	s.server = rpc.New(rpc.Options{
		Store: s.store, Ingester: ingester, Importer: s.newImporter(ingester), Builder: s.builder,
		Searcher: query.New(s.store, s.follower, queries, reranking.New(inference, s.cfg.Reranking.Timeout, s.opts.clock), s.opts.clock),
		Follower: s.follower, Counts: readable, Metrics: s.metrics, Clock: s.opts.clock, IDs: s.opts.ids,
		Models: embedder, EmbeddingModel: cfg.Model, MaxCollections: s.cfg.Limits.Collections,
		MaxCollectionChunks: s.cfg.Limits.CollectionChunks, MaxRestoreBytes: int64(s.cfg.Limits.RestoreBytes), SpoolDir: s.cfg.Limits.SpoolDir,
	})
	return nil
}

// newChain is the standard chain with the caller's identity before validation, and
// outages told apart from faults next to the handlers.
func (s *Service) newChain() (grpcserver.Chain, error) {
	// Rules are compiled now rather than during the first requests.
	validator, err := protovalidate.New(protovalidate.WithMessages(
		&searchv1.CreateCollectionRequest{}, &searchv1.GetCollectionRequest{}, &searchv1.ListCollectionsRequest{},
		&searchv1.DeleteCollectionRequest{}, &searchv1.BatchUpsertDocumentsRequest{}, &searchv1.GetDocumentRequest{},
		&searchv1.ImportDocumentsRequest{}, &searchv1.BackupCollectionRequest{}, &searchv1.RestoreCollectionRequest{},
		&searchv1.ListDocumentsRequest{}, &searchv1.DeleteDocumentRequest{}, &searchv1.SearchRequest{},
		&searchv1.CreateEmbeddingGenerationRequest{}, &searchv1.GetEmbeddingGenerationRequest{},
		&searchv1.ListEmbeddingGenerationsRequest{}, &searchv1.ServeEmbeddingGenerationRequest{},
		&searchv1.RollbackEmbeddingGenerationRequest{}, &searchv1.DeleteEmbeddingGenerationRequest{},
	))
	if err != nil {
		return nil, fmt.Errorf("compile the validation rules: %w", err)
	}
	chain, err := grpcserver.Standard(grpcserver.StandardOptions{
		Telemetry: s.opts.telemetry, Clock: s.opts.clock, IDs: s.opts.ids, Validator: validator,
	})
	if err != nil {
		return nil, err
	}
	chain = insertIdentity(chain, s.identity.Server())
	return append(chain, rpc.Outages(s.metrics)), nil
}

// RegisterGRPC registers the service's gRPC servers. Calls must pass
// Interceptors on their way to them.
func (s *Service) RegisterGRPC(r grpc.ServiceRegistrar) {
	searchv1.RegisterSearchServiceServer(r, s.server)
}

// Interceptors is the chain around the service's gRPC servers.
func (s *Service) Interceptors() grpcserver.Chain { return s.chain }

// Readiness says whether every collection's index is open and follows.
func (s *Service) Readiness() *health.Readiness { return s.readiness }

// close releases what New opened, in the reverse order.
func (s *Service) close() error {
	var errs []error
	for _, closer := range slices.Backward(s.closers) {
		errs = append(errs, closer())
	}
	s.closers = nil
	return errors.Join(errs...)
}
