package server

import (
	"context"
	"strconv"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// GetAliasChange implements registryv1.RegistryServiceServer.
func (s *Server) GetAliasChange(ctx context.Context, req *registryv1.GetAliasChangeRequest) (*registryv1.GetAliasChangeResponse, error) {
	a, err := s.store.GetAliasChange(ctx, req.GetModel(), req.GetChange())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetAliasChangeResponse{Change: a}, nil
}

// ListAliasChanges implements registryv1.RegistryServiceServer.
func (s *Server) ListAliasChanges(ctx context.Context, req *registryv1.ListAliasChangesRequest) (*registryv1.ListAliasChangesResponse, error) {
	p := pager[*registryv1.AliasChange]{
		scope: "alias-changes/" + req.GetModel() + "/" + req.GetAlias() + "/" + strconv.FormatBool(req.GetPending()),
		key:   (*registryv1.AliasChange).GetId,
		list: func(after string, limit int) ([]*registryv1.AliasChange, error) {
			return s.store.ListAliasChanges(ctx, req.GetModel(),
				store.ChangeFilter{Alias: req.GetAlias(), Pending: req.GetPending()}, after, limit)
		},
	}
	changes, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListAliasChangesResponse{Changes: changes, NextPageToken: next}, nil
}

// decision is what both requests that decide a change have.
type decision interface {
	GetModel() string
	GetChange() string
	GetEtag() string
	GetReason() string
}

func decisionOf(req decision) (store.Decision, error) {
	return store.Decision{
		Model: req.GetModel(), Change: req.GetChange(), Etag: req.GetEtag(), Reason: req.GetReason(),
	}, checkText("reason", req.GetReason())
}

// ApproveAliasChange implements registryv1.RegistryServiceServer.
func (s *Server) ApproveAliasChange(ctx context.Context, req *registryv1.ApproveAliasChangeRequest) (*registryv1.ApproveAliasChangeResponse, error) {
	d, err := decisionOf(req)
	if err != nil {
		return nil, err
	}
	a, err := s.store.ApproveAliasChange(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return &registryv1.ApproveAliasChangeResponse{Change: a}, nil
}

// RejectAliasChange implements registryv1.RegistryServiceServer.
func (s *Server) RejectAliasChange(ctx context.Context, req *registryv1.RejectAliasChangeRequest) (*registryv1.RejectAliasChangeResponse, error) {
	d, err := decisionOf(req)
	if err != nil {
		return nil, err
	}
	a, err := s.store.RejectAliasChange(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return &registryv1.RejectAliasChangeResponse{Change: a}, nil
}

// GetAliasProtection implements registryv1.RegistryServiceServer.
func (s *Server) GetAliasProtection(ctx context.Context, req *registryv1.GetAliasProtectionRequest) (*registryv1.GetAliasProtectionResponse, error) {
	p, err := s.store.AliasProtection(ctx, req.GetModel())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetAliasProtectionResponse{Protection: p}, nil
}

// SetAliasProtection implements registryv1.RegistryServiceServer.
func (s *Server) SetAliasProtection(ctx context.Context, req *registryv1.SetAliasProtectionRequest) (*registryv1.SetAliasProtectionResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	p, pending, err := s.store.SetAliasProtection(ctx, actor(ctx), req.GetModel(), req.GetProtected(), req.GetEtag(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &registryv1.SetAliasProtectionResponse{Protection: p, Change: pending}, nil
}
