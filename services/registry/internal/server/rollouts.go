package server

import (
	"context"
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// CreateRollout implements registryv1.RegistryServiceServer.
func (s *Server) CreateRollout(ctx context.Context, req *registryv1.CreateRolloutRequest) (*registryv1.CreateRolloutResponse, error) {
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	by := actor(ctx)
	r, err := rollout.New(req, by, s.judge != nil)
	if err != nil {
		return nil, err
	}
	if r, err = s.store.CreateRollout(ctx, by, r, req.GetValidateOnly(), rollout.Begin); err != nil {
		return nil, err
	}
	if !req.GetValidateOnly() {
		s.opts.WakeRollouts()
	}
	return &registryv1.CreateRolloutResponse{Rollout: r}, nil
}

// GetRollout implements registryv1.RegistryServiceServer.
func (s *Server) GetRollout(ctx context.Context, req *registryv1.GetRolloutRequest) (*registryv1.GetRolloutResponse, error) {
	v, err := s.store.RolloutView(ctx, req.GetModel(), req.GetRollout())
	if err != nil {
		return nil, err
	}
	r := v.Rollout
	if store.RolloutOver(r) {
		return &registryv1.GetRolloutResponse{Rollout: r}, nil
	}
	// Without figures the rollout is still what it is.
	seen, _ := rollout.Look(ctx, s.judge, r)
	if elapsed, words, ok := rollout.Progress(v, seen); ok {
		r.Progress = &registryv1.RolloutProgress{
			Elapsed: durationpb.New(elapsed), BaselineRequests: seen.Baseline, CandidateRequests: seen.Candidate, Words: words,
		}
	}
	return &registryv1.GetRolloutResponse{Rollout: r}, nil
}

// ListRollouts implements registryv1.RegistryServiceServer.
func (s *Server) ListRollouts(ctx context.Context, req *registryv1.ListRolloutsRequest) (*registryv1.ListRolloutsResponse, error) {
	p := pager[*registryv1.Rollout]{
		scope: "rollouts/" + req.GetModel(), key: (*registryv1.Rollout).GetName,
		list: func(after string, limit int) ([]*registryv1.Rollout, error) {
			return s.store.ListRollouts(ctx, req.GetModel(), after, limit)
		},
	}
	list, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListRolloutsResponse{Rollouts: list, NextPageToken: next}, nil
}

// ListRolloutEvents implements registryv1.RegistryServiceServer.
func (s *Server) ListRolloutEvents(ctx context.Context, req *registryv1.ListRolloutEventsRequest) (*registryv1.ListRolloutEventsResponse, error) {
	p := pager[*registryv1.RolloutEvent]{
		scope: "rollout-events/" + req.GetModel() + "/" + req.GetRollout(),
		key:   func(e *registryv1.RolloutEvent) string { return strconv.Itoa(int(e.GetNumber())) },
		list: func(after string, limit int) ([]*registryv1.RolloutEvent, error) {
			number := 0
			if after != "" {
				var err error
				if number, err = strconv.Atoi(after); err != nil {
					return nil, errBadToken()
				}
			}
			return s.store.ListRolloutEvents(ctx, req.GetModel(), req.GetRollout(), int32(number), limit) //nolint:gosec // of our own token
		},
	}
	list, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListRolloutEventsResponse{Events: list, NextPageToken: next}, nil
}

// PauseRollout implements registryv1.RegistryServiceServer.
func (s *Server) PauseRollout(ctx context.Context, req *registryv1.PauseRolloutRequest) (*registryv1.PauseRolloutResponse, error) {
	r, err := s.moveRollout(ctx, req, rollout.Pause)
	if err != nil {
		return nil, err
	}
	return &registryv1.PauseRolloutResponse{Rollout: r}, nil
}

// ResumeRollout implements registryv1.RegistryServiceServer.
func (s *Server) ResumeRollout(ctx context.Context, req *registryv1.ResumeRolloutRequest) (*registryv1.ResumeRolloutResponse, error) {
	r, err := s.moveRollout(ctx, req, rollout.Resume)
	if err != nil {
		return nil, err
	}
	return &registryv1.ResumeRolloutResponse{Rollout: r}, nil
}

// ForceRollout implements registryv1.RegistryServiceServer.
func (s *Server) ForceRollout(ctx context.Context, req *registryv1.ForceRolloutRequest) (*registryv1.ForceRolloutResponse, error) {
	r, err := s.moveRollout(ctx, req, rollout.Force(req.GetStep()))
	if err != nil {
		return nil, err
	}
	return &registryv1.ForceRolloutResponse{Rollout: r}, nil
}

// AbortRollout implements registryv1.RegistryServiceServer.
func (s *Server) AbortRollout(ctx context.Context, req *registryv1.AbortRolloutRequest) (*registryv1.AbortRolloutResponse, error) {
	r, err := s.moveRollout(ctx, req, rollout.Abort)
	if err != nil {
		return nil, err
	}
	return &registryv1.AbortRolloutResponse{Rollout: r}, nil
}

// rolloutMove is what all requests that move a rollout have.
type rolloutMove interface {
	GetModel() string
	GetRollout() string
	GetEtag() string
	GetReason() string
}

func (s *Server) moveRollout(ctx context.Context, req rolloutMove, do rollout.Mover) (*registryv1.Rollout, error) {
	if err := checkText("reason", req.GetReason()); err != nil {
		return nil, err
	}
	return s.store.MoveRollout(ctx, actor(ctx), req.GetModel(), req.GetRollout(), nil,
		rollout.Asked(req.GetEtag(), req.GetReason(), do))
}
