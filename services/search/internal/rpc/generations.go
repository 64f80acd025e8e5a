package rpc

import (
	"cmp"
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/store"
)

// managed returns a collection to those who administer it. They are told what
// searches are answered by, and the ids of documents that failed.
func (s *Server) managed(ctx context.Context, id string) (store.Collection, error) {
	who, err := callerOf(ctx)
	if err != nil {
		return store.Collection{}, err
	}
	if !who.admin {
		return store.Collection{}, apierr.New(apierr.PermissionDenied, "embedding generations are for administrators")
	}
	return s.o.Store.Collection(ctx, who.tenant, id)
}

// CreateEmbeddingGeneration implements SearchService.
func (s *Server) CreateEmbeddingGeneration(ctx context.Context, req *searchv1.CreateEmbeddingGenerationRequest) (*searchv1.CreateEmbeddingGenerationResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	chunking := c.Chunking
	if req.GetChunking() != nil {
		chunking = chunkingOf(req.GetChunking())
	}
	model := cmp.Or(req.GetEmbeddingModel(), c.EmbeddingModel)
	if !embedding.ValidReference(model) {
		return nil, apierr.Invalid("embedding_model", "embedding_model must be the name of a registered model")
	}
	if err := s.o.Models.Check(ctx, model); err != nil {
		return nil, err
	}
	g, err := s.o.Store.CreateEmbeddingGeneration(ctx, c, store.EmbeddingGeneration{
		EmbeddingModel: model, Chunking: chunking, Analyser: analysis.Version,
		ServeWhenReady: req.ServeWhenReady == nil || req.GetServeWhenReady(),
	})
	if err != nil {
		return nil, err
	}
	s.o.Builder.Notify()
	return &searchv1.CreateEmbeddingGenerationResponse{EmbeddingGeneration: generationToProto(g)}, nil
}

// ListEmbeddingGenerations implements SearchService.
func (s *Server) ListEmbeddingGenerations(ctx context.Context, req *searchv1.ListEmbeddingGenerationsRequest) (*searchv1.ListEmbeddingGenerationsResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	found, err := s.o.Store.EmbeddingGenerations(ctx, c)
	if err != nil {
		return nil, err
	}
	resp := &searchv1.ListEmbeddingGenerationsResponse{}
	for _, g := range found {
		resp.EmbeddingGenerations = append(resp.EmbeddingGenerations, generationToProto(g))
	}
	return resp, nil
}

// GetEmbeddingGeneration implements SearchService.
func (s *Server) GetEmbeddingGeneration(ctx context.Context, req *searchv1.GetEmbeddingGenerationRequest) (*searchv1.GetEmbeddingGenerationResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	g, err := s.o.Store.EmbeddingGeneration(ctx, c, int(req.GetNumber()))
	if err != nil {
		return nil, err
	}
	return &searchv1.GetEmbeddingGenerationResponse{EmbeddingGeneration: generationToProto(g)}, nil
}

// ServeEmbeddingGeneration implements SearchService.
func (s *Server) ServeEmbeddingGeneration(ctx context.Context, req *searchv1.ServeEmbeddingGenerationRequest) (*searchv1.ServeEmbeddingGenerationResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	g, err := s.o.Builder.Serve(ctx, c, int(req.GetNumber()))
	if err != nil {
		return nil, err
	}
	return &searchv1.ServeEmbeddingGenerationResponse{EmbeddingGeneration: generationToProto(g)}, nil
}

// RollbackEmbeddingGeneration implements SearchService.
func (s *Server) RollbackEmbeddingGeneration(ctx context.Context, req *searchv1.RollbackEmbeddingGenerationRequest) (*searchv1.RollbackEmbeddingGenerationResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	g, err := s.o.Builder.Rollback(ctx, c)
	if err != nil {
		return nil, err
	}
	return &searchv1.RollbackEmbeddingGenerationResponse{EmbeddingGeneration: generationToProto(g)}, nil
}

// DeleteEmbeddingGeneration implements SearchService.
func (s *Server) DeleteEmbeddingGeneration(ctx context.Context, req *searchv1.DeleteEmbeddingGenerationRequest) (*searchv1.DeleteEmbeddingGenerationResponse, error) {
	c, err := s.managed(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	if err := s.o.Store.RemoveEmbeddingGeneration(ctx, c, int(req.GetNumber())); err != nil {
		return nil, err
	}
	s.o.Builder.Notify()
	s.o.Follower.Notify()
	return &searchv1.DeleteEmbeddingGenerationResponse{}, nil
}

func generationToProto(g store.EmbeddingGeneration) *searchv1.EmbeddingGeneration {
	return &searchv1.EmbeddingGeneration{
		Number: int32of(g.Number), State: string(g.State), Reason: g.Reason,
		EmbeddingModel: g.EmbeddingModel, EmbeddingDigest: g.EmbeddingDigest, Dimensions: int32of(g.Dimensions),
		AnalyserVersion: int32of(g.Analyser), ServeWhenReady: g.ServeWhenReady,
		DocumentsDone: int32of(g.Done), DocumentsTotal: int32of(g.Total), DocumentsFailed: int32of(g.Failed),
		DocumentsPerSecond: math.Round(100*g.Rate) / 100,
		CreateTime:         timestamp(g.CreateTime), ReadyTime: timestamp(g.ReadyTime),
		ServeTime: timestamp(g.ServeTime), RetireTime: timestamp(g.RetireTime), Chunking: chunkingToProto(g.Chunking),
	}
}

// timestamp returns t; nil for none.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
