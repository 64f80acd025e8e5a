package server

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// experimentPlan is what requests say of how an experiment shall be.
type experimentPlan interface {
	GetDescription() string
	GetArms() []*registryv1.ExperimentArm
	GetTargeting() *registryv1.Targeting
	GetLayer() string
	GetShare() int32
	GetPriority() int32
	GetStickyBy() registryv1.StickyBy
	GetOverrides() []*registryv1.Override
	GetShadow() *registryv1.Shadow
}

// plan reads it. Texts are compared with what requests bring: what cannot come in
// one is refused, for nobody would ever be meant.
func plan(model, name string, p experimentPlan) (*registryv1.Experiment, error) {
	if err := checkText("description", p.GetDescription()); err != nil {
		return nil, err
	}
	for _, c := range p.GetTargeting().GetConditions() {
		for _, v := range c.GetValues() {
			if err := checkText("targeting.conditions.values", v); err != nil {
				return nil, err
			}
		}
	}
	for _, o := range p.GetOverrides() {
		if err := checkText("overrides.subject", o.GetSubject()+o.GetTenant()); err != nil {
			return nil, err
		}
	}
	for _, a := range p.GetArms() {
		if a == nil {
			return nil, apierr.Invalid("arms", "arms must not be null")
		}
	}
	return &registryv1.Experiment{
		Model: model, Name: name, Description: p.GetDescription(), Arms: p.GetArms(), Targeting: p.GetTargeting(),
		Layer: p.GetLayer(), Share: p.GetShare(), Priority: p.GetPriority(), StickyBy: p.GetStickyBy(),
		Overrides: p.GetOverrides(), Shadow: p.GetShadow(),
	}, nil
}

// CreateExperiment implements registryv1.RegistryServiceServer.
func (s *Server) CreateExperiment(ctx context.Context, req *registryv1.CreateExperimentRequest) (*registryv1.CreateExperimentResponse, error) {
	p, err := plan(req.GetModel(), req.GetName(), req)
	if err != nil {
		return nil, err
	}
	e, err := s.store.CreateExperiment(ctx, actor(ctx), p)
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateExperimentResponse{Experiment: e}, nil
}

// GetExperiment implements registryv1.RegistryServiceServer.
func (s *Server) GetExperiment(ctx context.Context, req *registryv1.GetExperimentRequest) (*registryv1.GetExperimentResponse, error) {
	e, err := s.store.GetExperiment(ctx, req.GetModel(), req.GetExperiment())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetExperimentResponse{Experiment: e}, nil
}

// ListExperiments implements registryv1.RegistryServiceServer.
func (s *Server) ListExperiments(ctx context.Context, req *registryv1.ListExperimentsRequest) (*registryv1.ListExperimentsResponse, error) {
	p := pager[*registryv1.Experiment]{
		scope: "experiments/" + req.GetModel(), key: (*registryv1.Experiment).GetName,
		list: func(after string, limit int) ([]*registryv1.Experiment, error) {
			return s.store.ListExperiments(ctx, req.GetModel(), after, limit)
		},
	}
	list, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListExperimentsResponse{Experiments: list, NextPageToken: next}, nil
}

// UpdateExperiment implements registryv1.RegistryServiceServer.
func (s *Server) UpdateExperiment(ctx context.Context, req *registryv1.UpdateExperimentRequest) (*registryv1.UpdateExperimentResponse, error) {
	p, err := plan(req.GetModel(), req.GetExperiment(), req)
	if err != nil {
		return nil, err
	}
	e, err := s.store.UpdateExperiment(ctx, actor(ctx), p, req.GetEtag())
	if err != nil {
		return nil, err
	}
	return &registryv1.UpdateExperimentResponse{Experiment: e}, nil
}

// DeleteExperiment implements registryv1.RegistryServiceServer.
func (s *Server) DeleteExperiment(ctx context.Context, req *registryv1.DeleteExperimentRequest) (*registryv1.DeleteExperimentResponse, error) {
	if err := s.store.DeleteExperiment(ctx, actor(ctx), req.GetModel(), req.GetExperiment(), req.GetEtag()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteExperimentResponse{}, nil
}

// StartExperiment implements registryv1.RegistryServiceServer.
func (s *Server) StartExperiment(ctx context.Context, req *registryv1.StartExperimentRequest) (*registryv1.StartExperimentResponse, error) {
	e, err := s.store.StartExperiment(ctx, actor(ctx), req.GetModel(), req.GetExperiment(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	return &registryv1.StartExperimentResponse{Experiment: e}, nil
}

// RampExperiment implements registryv1.RegistryServiceServer.
func (s *Server) RampExperiment(ctx context.Context, req *registryv1.RampExperimentRequest) (*registryv1.RampExperimentResponse, error) {
	e, err := s.store.RampExperiment(ctx, actor(ctx), req.GetModel(), req.GetExperiment(), req.GetWeights(), req.GetShare(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	return &registryv1.RampExperimentResponse{Experiment: e}, nil
}

// StopExperiment implements registryv1.RegistryServiceServer.
func (s *Server) StopExperiment(ctx context.Context, req *registryv1.StopExperimentRequest) (*registryv1.StopExperimentResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	e, err := s.store.StopExperiment(ctx, actor(ctx), req.GetModel(), req.GetExperiment(), req.GetReason(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	return &registryv1.StopExperimentResponse{Experiment: e}, nil
}

// ConcludeExperiment implements registryv1.RegistryServiceServer.
func (s *Server) ConcludeExperiment(ctx context.Context, req *registryv1.ConcludeExperimentRequest) (*registryv1.ConcludeExperimentResponse, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	e, err := s.store.ConcludeExperiment(ctx, actor(ctx), req.GetModel(), req.GetExperiment(), req.GetWinner(), req.GetReason(), req.GetEtag())
	if err != nil {
		return nil, err
	}
	return &registryv1.ConcludeExperimentResponse{Experiment: e}, nil
}
