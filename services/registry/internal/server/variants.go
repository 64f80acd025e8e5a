package server

import (
	"context"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// CreateVariant implements registryv1.RegistryServiceServer.
func (s *Server) CreateVariant(ctx context.Context, req *registryv1.CreateVariantRequest) (*registryv1.CreateVariantResponse, error) {
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	d, err := digestOf(req.GetSpec())
	if err != nil {
		return nil, err
	}
	v, err := s.store.CreateVariant(ctx, actor(ctx), key, &registryv1.Variant{
		Model: req.GetModel(), Name: req.GetVariant(), Digest: d, Spec: req.GetSpec(),
		Quality: req.GetQuality(), Description: req.GetDescription(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateVariantResponse{Variant: v}, nil
}

// GetVariant implements registryv1.RegistryServiceServer.
func (s *Server) GetVariant(ctx context.Context, req *registryv1.GetVariantRequest) (*registryv1.GetVariantResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	v, err := s.store.GetVariant(ctx, req.GetModel(), key, req.GetVariant())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetVariantResponse{Variant: v}, nil
}

// ListVariants implements registryv1.RegistryServiceServer. A version has few
// enough for one answer.
func (s *Server) ListVariants(ctx context.Context, req *registryv1.ListVariantsRequest) (*registryv1.ListVariantsResponse, error) {
	v, err := s.version(ctx, req.GetModel(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &registryv1.ListVariantsResponse{Variants: v.GetVariants()}, nil
}

// DeleteVariant implements registryv1.RegistryServiceServer.
func (s *Server) DeleteVariant(ctx context.Context, req *registryv1.DeleteVariantRequest) (*registryv1.DeleteVariantResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	if err := s.store.DeleteVariant(ctx, actor(ctx), req.GetModel(), key, req.GetVariant()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteVariantResponse{}, nil
}
