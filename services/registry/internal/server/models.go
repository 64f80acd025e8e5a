package server

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// CreateModel implements registryv1.RegistryServiceServer.
func (s *Server) CreateModel(ctx context.Context, req *registryv1.CreateModelRequest) (*registryv1.CreateModelResponse, error) {
	if err := checkText("display_name", req.GetDisplayName()); err != nil {
		return nil, err
	}
	m, err := s.store.CreateModel(ctx, actor(ctx), &registryv1.Model{
		Name: req.GetName(), DisplayName: req.GetDisplayName(), Labels: req.GetLabels(),
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
	p := pager[*registryv1.Model]{
		scope: "models", key: (*registryv1.Model).GetName,
		list: func(after string, limit int) ([]*registryv1.Model, error) {
			return s.store.ListModels(ctx, after, limit)
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
	for _, label := range req.GetRemoveLabels() {
		if _, both := req.GetLabels()[label]; both {
			return nil, apierr.Invalid("remove_labels", "the label %q cannot be set and removed at once", label)
		}
	}
	m, err := s.store.UpdateModel(ctx, actor(ctx), req.GetModel(), store.Update{
		DisplayName: req.DisplayName, Set: req.GetLabels(), Remove: req.GetRemoveLabels(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.UpdateModelResponse{Model: m}, nil
}

// DeleteModel implements registryv1.RegistryServiceServer.
func (s *Server) DeleteModel(ctx context.Context, req *registryv1.DeleteModelRequest) (*registryv1.DeleteModelResponse, error) {
	if err := s.store.DeleteModel(ctx, actor(ctx), req.GetModel()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteModelResponse{}, nil
}
