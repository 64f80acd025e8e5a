package server

import (
	"context"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// SetAlias implements registryv1.RegistryServiceServer.
func (s *Server) SetAlias(ctx context.Context, req *registryv1.SetAliasRequest) (*registryv1.SetAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	a, pending, err := s.store.ChangeAlias(ctx, actor(ctx), store.AliasWish{
		Model: req.GetModel(), Alias: req.GetAlias(), Version: req.GetVersion(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.SetAliasResponse{Alias: a, Change: pending}, nil
}

// GetAlias implements registryv1.RegistryServiceServer.
func (s *Server) GetAlias(ctx context.Context, req *registryv1.GetAliasRequest) (*registryv1.GetAliasResponse, error) {
	a, err := s.store.GetAlias(ctx, req.GetModel(), req.GetAlias())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetAliasResponse{Alias: a}, nil
}

// ListAliases implements registryv1.RegistryServiceServer.
func (s *Server) ListAliases(ctx context.Context, req *registryv1.ListAliasesRequest) (*registryv1.ListAliasesResponse, error) {
	p := pager[*registryv1.Alias]{
		scope: "aliases/" + req.GetModel(), key: (*registryv1.Alias).GetName,
		list: func(after string, limit int) ([]*registryv1.Alias, error) {
			return s.store.ListAliases(ctx, req.GetModel(), after, limit)
		},
	}
	aliases, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListAliasesResponse{Aliases: aliases, NextPageToken: next}, nil
}

// DeleteAlias implements registryv1.RegistryServiceServer.
func (s *Server) DeleteAlias(ctx context.Context, req *registryv1.DeleteAliasRequest) (*registryv1.DeleteAliasResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	_, pending, err := s.store.ChangeAlias(ctx, actor(ctx), store.AliasWish{
		Model: req.GetModel(), Alias: req.GetAlias(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.DeleteAliasResponse{Change: pending}, nil
}

// SetSplit implements registryv1.RegistryServiceServer.
func (s *Server) SetSplit(ctx context.Context, req *registryv1.SetSplitRequest) (*registryv1.SetSplitResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	sp, err := s.store.ChangeSplit(ctx, actor(ctx), store.SplitWish{
		Model: req.GetModel(), Arms: req.GetArms(), Etag: req.GetEtag(), Reason: req.GetReason(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.SetSplitResponse{Split: sp}, nil
}

// GetSplit implements registryv1.RegistryServiceServer.
func (s *Server) GetSplit(ctx context.Context, req *registryv1.GetSplitRequest) (*registryv1.GetSplitResponse, error) {
	sp, err := s.store.GetSplit(ctx, req.GetModel())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetSplitResponse{Split: sp}, nil
}

// DeleteSplit implements registryv1.RegistryServiceServer.
func (s *Server) DeleteSplit(ctx context.Context, req *registryv1.DeleteSplitRequest) (*registryv1.DeleteSplitResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	if err := s.store.RemoveSplit(ctx, actor(ctx), req.GetModel(), req.GetEtag(), req.GetReason()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteSplitResponse{}, nil
}
