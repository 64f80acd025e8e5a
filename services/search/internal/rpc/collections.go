package rpc

import (
	"cmp"
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/embedding"
	"github.com/poterne/poterne/services/search/internal/store"
)

// CreateCollection implements SearchService.
func (s *Server) CreateCollection(ctx context.Context, req *searchv1.CreateCollectionRequest) (*searchv1.CreateCollectionResponse, error) {
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	model := cmp.Or(req.GetEmbeddingModel(), s.o.EmbeddingModel)
	if !embedding.ValidReference(model) {
		return nil, apierr.Invalid("embedding_model", "embedding_model must be the name of a registered model")
	}
	if err := s.o.Models.Check(ctx, model); err != nil {
		return nil, err
	}
	weights, err := weightsOf(req.GetWeights())
	if err != nil {
		return nil, err
	}
	c, err := s.o.Store.CreateCollection(ctx, store.Collection{
		Tenant: who.tenant, ID: req.GetId(), UID: s.o.IDs.New(), DisplayName: req.GetDisplayName(),
		EmbeddingModel: model, Analyser: analysis.Version, Fusion: req.GetFusion(), Weights: weights,
		VectorMetric: req.GetVectorMetric(), Chunking: chunkingOf(req.GetChunking()),
	}, s.o.MaxCollections)
	if err != nil {
		return nil, err
	}
	return &searchv1.CreateCollectionResponse{Collection: collectionToProto(c)}, nil
}

// GetCollection implements SearchService.
func (s *Server) GetCollection(ctx context.Context, req *searchv1.GetCollectionRequest) (*searchv1.GetCollectionResponse, error) {
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	shown, err := s.shown(ctx, who, c)
	if err != nil {
		return nil, err
	}
	return &searchv1.GetCollectionResponse{Collection: shown[0]}, nil
}

// shown returns collections as the caller sees them: with how many documents and
// chunks they may read. Administrators, who may remove all of them, are told of all.
func (s *Server) shown(ctx context.Context, who caller, collections ...store.Collection) ([]*searchv1.Collection, error) {
	out := make([]*searchv1.Collection, len(collections))
	for i, c := range collections {
		if !who.admin {
			var err error
			if c, err = s.o.Counts.Of(ctx, c, who.principals); err != nil {
				return nil, err
			}
		}
		out[i] = collectionToProto(c)
	}
	return out, nil
}

// ListCollections implements SearchService.
func (s *Server) ListCollections(ctx context.Context, req *searchv1.ListCollectionsRequest) (*searchv1.ListCollectionsResponse, error) {
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	const list = "collections"
	after, err := decodePage(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	found, err := s.o.Store.Collections(ctx, who.tenant, after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &searchv1.ListCollectionsResponse{}
	if len(found) > size {
		found = found[:size]
		resp.NextPageToken = encodePage(list, found[size-1].ID)
	}
	resp.Collections, err = s.shown(ctx, who, found...)
	return resp, err
}

// DeleteCollection implements SearchService. Who may not remove each of its
// documents may not remove the collection. When the index cannot be removed
// now, the next start does it: no search reaches it any more.
func (s *Server) DeleteCollection(ctx context.Context, req *searchv1.DeleteCollectionRequest) (*searchv1.DeleteCollectionResponse, error) {
	who, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.o.Store.DeleteCollection(ctx, who.tenant, req.GetCollection(), who.writes())
	if err != nil {
		return nil, err
	}
	if err := s.o.Follower.Drop(context.WithoutCancel(ctx), c.IndexName()); err != nil {
		s.o.Metrics.DropFailed(ctx, err)
	}
	s.o.Follower.Notify() // the other embedding generations' indexes go in the background
	return &searchv1.DeleteCollectionResponse{}, nil
}
