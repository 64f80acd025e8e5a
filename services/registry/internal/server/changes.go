package server

import (
	"context"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// ListChanges implements registryv1.RegistryServiceServer.
func (s *Server) ListChanges(ctx context.Context, req *registryv1.ListChangesRequest) (*registryv1.ListChangesResponse, error) {
	p := revisions(func(before int64, limit int) ([]*registryv1.Change, error) {
		return s.store.ListChanges(ctx, req.GetModel(), before, limit)
	}, "changes/"+req.GetModel())
	changes, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListChangesResponse{Changes: changes, NextPageToken: next}, nil
}

// revisions pages a list that goes back in revisions.
func revisions[T interface{ GetRevision() int64 }](list func(before int64, limit int) ([]T, error), scope string) pager[T] {
	return pager[T]{
		scope: scope,
		key:   func(entry T) string { return strconv.FormatInt(entry.GetRevision(), 10) },
		list: func(after string, limit int) ([]T, error) {
			var before int64
			if after != "" {
				var err error
				if before, err = strconv.ParseInt(after, 10, 64); err != nil {
					return nil, errBadToken()
				}
			}
			return list(before, limit)
		},
	}
}

// ResolveVersion implements registryv1.RegistryServiceServer.
func (s *Server) ResolveVersion(ctx context.Context, req *registryv1.ResolveVersionRequest) (*registryv1.ResolveVersionResponse, error) {
	d, err := digestOf(req.GetSpec())
	if err != nil {
		return nil, err
	}
	v, err := s.store.GetVersion(ctx, req.GetModel(), store.VersionKey{Digest: d})
	if reason := apierr.ReasonOf(err); err != nil && reason != apierr.NotFound && reason != apierr.ModelNotFound {
		return nil, err
	}
	return &registryv1.ResolveVersionResponse{Digest: d, Version: v}, nil
}
