package server

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// CreateModel implements registryv1.RegistryServiceServer.
func (s *Server) CreateModel(ctx context.Context, req *registryv1.CreateModelRequest) (*registryv1.CreateModelResponse, error) {
	if err := checkText("display_name", req.GetDisplayName()); err != nil {
		return nil, err
	}
	if err := checkTexts("card", req.GetCard(), "licence", req.GetLicence(), "owner", req.GetOwner()); err != nil {
		return nil, err
	}
	tenant, err := s.tenantOfNew(ctx, req.GetName(), req.GetTenant())
	if err != nil {
		return nil, err
	}
	owner := req.GetOwner()
	if owner == "" {
		caller, _ := identity.FromContext(ctx)
		owner = caller.Subject
	}
	m, err := s.store.CreateModel(ctx, actor(ctx), &registryv1.Model{
		Name: req.GetName(), DisplayName: req.GetDisplayName(), Labels: req.GetLabels(), Task: req.GetTask(),
		Tenant: tenant, Owner: owner, Card: req.GetCard(), Licence: req.GetLicence(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateModelResponse{Model: m}, nil
}

// GetModel implements registryv1.RegistryServiceServer.
func (s *Server) GetModel(ctx context.Context, req *registryv1.GetModelRequest) (*registryv1.GetModelResponse, error) {
	m, err := s.store.GetModel(ctx, req.GetModel())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetModelResponse{Model: m}, nil
}

// ListModels implements registryv1.RegistryServiceServer.
func (s *Server) ListModels(ctx context.Context, req *registryv1.ListModelsRequest) (*registryv1.ListModelsResponse, error) {
	query, err := listQuery(req)
	if err != nil {
		return nil, err
	}
	if c, known := identity.FromContext(ctx); known && !s.seesAll(c) {
		query.Tenant = &c.Tenant
	}
	p := pager[*registryv1.Model]{
		scope: "models" + queryScope(req),
		key:   func(m *registryv1.Model) string { return store.ModelPlace(m, req.GetOrderBy()).String() },
		list: func(after string, limit int) ([]*registryv1.Model, error) {
			query.After, query.Limit = after, limit
			return s.store.FindModels(ctx, query)
		},
	}
	models, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListModelsResponse{Models: models, NextPageToken: next}, nil
}

// UpdateModel implements registryv1.RegistryServiceServer.
func (s *Server) UpdateModel(ctx context.Context, req *registryv1.UpdateModelRequest) (*registryv1.UpdateModelResponse, error) {
	if err := checkText("display_name", req.GetDisplayName()); err != nil {
		return nil, err
	}
	if err := checkTexts("card", req.GetCard(), "licence", req.GetLicence(), "owner", req.GetOwner()); err != nil {
		return nil, err
	}
	if c, known := identity.FromContext(ctx); req.Tenant != nil && known && !s.seesAll(c) {
		return nil, apierr.New(apierr.PermissionDenied, "only callers of the platform's tenant may give a model to another one").WithField("tenant")
	}
	for _, label := range req.GetRemoveLabels() {
		if _, both := req.GetLabels()[label]; both {
			return nil, apierr.Invalid("remove_labels", "the label %q cannot be set and removed at once", label)
		}
	}
	m, err := s.store.UpdateModel(ctx, actor(ctx), req.GetModel(), store.Update{
		DisplayName: req.DisplayName, Set: req.GetLabels(), Remove: req.GetRemoveLabels(),
		Owner: req.Owner, Card: req.Card, Licence: req.Licence, Tenant: req.Tenant,
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.UpdateModelResponse{Model: m}, nil
}

// DeleteModel implements registryv1.RegistryServiceServer.
func (s *Server) DeleteModel(ctx context.Context, req *registryv1.DeleteModelRequest) (*registryv1.DeleteModelResponse, error) {
	remove := s.store.DeleteModel
	if req.GetPurge() {
		remove = s.store.PurgeModel
	}
	if err := remove(ctx, actor(ctx), req.GetModel()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteModelResponse{}, nil
}

// UndeleteModel implements registryv1.RegistryServiceServer.
func (s *Server) UndeleteModel(ctx context.Context, req *registryv1.UndeleteModelRequest) (*registryv1.UndeleteModelResponse, error) {
	m, err := s.store.UndeleteModel(ctx, actor(ctx), req.GetModel())
	if err != nil {
		return nil, err
	}
	return &registryv1.UndeleteModelResponse{Model: m}, nil
}
