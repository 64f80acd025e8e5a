package server

import (
	"context"
	"strconv"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// ListAliasHistory implements registryv1.RegistryServiceServer.
func (s *Server) ListAliasHistory(ctx context.Context, req *registryv1.ListAliasHistoryRequest) (*registryv1.ListAliasHistoryResponse, error) {
	p := pager[*registryv1.AliasState]{
		scope: "history/" + req.GetModel() + "/" + req.GetAlias(),
		key:   func(a *registryv1.AliasState) string { return strconv.FormatInt(a.GetRevision(), 10) },
		list: func(after string, limit int) ([]*registryv1.AliasState, error) {
			before, err := beforeRevision(after)
			if err != nil {
				return nil, err
			}
			return s.store.AliasHistory(ctx, req.GetModel(), req.GetAlias(), before, limit)
		},
	}
	states, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListAliasHistoryResponse{States: states, NextPageToken: next}, nil
}

// beforeRevision reads where a list of states goes on.
func beforeRevision(after string) (int64, error) {
	if after == "" {
		return 0, nil
	}
	before, err := strconv.ParseInt(after, 10, 64)
	if err != nil {
		return 0, errBadToken()
	}
	return before, nil
}

// RollbackAlias implements registryv1.RegistryServiceServer.
func (s *Server) RollbackAlias(ctx context.Context, req *registryv1.RollbackAliasRequest) (*registryv1.RollbackAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	a, pending, err := s.store.RollbackAlias(ctx, actor(ctx), req.GetModel(), req.GetAlias(), store.Rollback{
		Revision: req.GetRevision(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.RollbackAliasResponse{Alias: a, Change: pending}, nil
}

// ListSplitHistory implements registryv1.RegistryServiceServer.
func (s *Server) ListSplitHistory(ctx context.Context, req *registryv1.ListSplitHistoryRequest) (*registryv1.ListSplitHistoryResponse, error) {
	p := pager[*registryv1.SplitState]{
		scope: "split-history/" + req.GetModel(),
		key:   func(a *registryv1.SplitState) string { return strconv.FormatInt(a.GetRevision(), 10) },
		list: func(after string, limit int) ([]*registryv1.SplitState, error) {
			before, err := beforeRevision(after)
			if err != nil {
				return nil, err
			}
			return s.store.SplitHistory(ctx, req.GetModel(), before, limit)
		},
	}
	states, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListSplitHistoryResponse{States: states, NextPageToken: next}, nil
}

// RollbackSplit implements registryv1.RegistryServiceServer.
func (s *Server) RollbackSplit(ctx context.Context, req *registryv1.RollbackSplitRequest) (*registryv1.RollbackSplitResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	sp, err := s.store.RollbackSplit(ctx, actor(ctx), req.GetModel(), store.Rollback{
		Revision: req.GetRevision(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.RollbackSplitResponse{Split: sp}, nil
}
