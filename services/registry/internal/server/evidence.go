package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// ReportOutcomes implements registryv1.RegistryServiceServer.
func (s *Server) ReportOutcomes(ctx context.Context, req *registryv1.ReportOutcomesRequest) (*registryv1.ReportOutcomesResponse, error) {
	applied, err := s.store.AddOutcomes(ctx, req.GetBatches())
	if err != nil {
		return nil, err
	}
	if applied > 0 {
		s.opts.WakeRollouts()
	}
	return &registryv1.ReportOutcomesResponse{Applied: int32(applied)}, nil
}

// RecordFeedback implements registryv1.RegistryServiceServer.
func (s *Server) RecordFeedback(ctx context.Context, req *registryv1.RecordFeedbackRequest) (*registryv1.RecordFeedbackResponse, error) {
	if err := checkText("comment", req.GetComment()); err != nil {
		return nil, err
	}
	replaced, err := s.store.SetFeedback(ctx, store.Feedback{
		Response: req.GetResponseId(), Model: req.GetModel(), Experiment: req.GetExperiment(), Arm: req.GetArm(),
		Version: req.GetVersion(), Score: req.GetScore(), Comment: req.GetComment(), Made: req.GetResponseTime().AsTime(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.RecordFeedbackResponse{Replaced: replaced}, nil
}

// GetResults implements registryv1.RegistryServiceServer.
func (s *Server) GetResults(ctx context.Context, req *registryv1.GetResultsRequest) (*registryv1.GetResultsResponse, error) {
	r, err := s.evidence.Results(ctx, wanted(req, ""))
	if err != nil {
		return nil, err
	}
	return &registryv1.GetResultsResponse{Results: r}, nil
}

// GetExperimentResults implements registryv1.RegistryServiceServer.
func (s *Server) GetExperimentResults(ctx context.Context, req *registryv1.GetExperimentResultsRequest) (*registryv1.GetExperimentResultsResponse, error) {
	r, err := s.evidence.Results(ctx, wanted(req, req.GetExperiment()))
	if err != nil {
		return nil, err
	}
	// One that is gone keeps its figures for a while; where there are none, a name
	// that was never an experiment's must not look like one that nobody met.
	if len(r.GetArms()) == 0 {
		if _, err := s.store.GetExperiment(ctx, req.GetModel(), req.GetExperiment()); err != nil {
			return nil, err
		}
	}
	return &registryv1.GetExperimentResultsResponse{Results: r}, nil
}

// resultsRequest is what both requests for results have.
type resultsRequest interface {
	GetModel() string
	GetBaseline() string
	GetSince() *timestamppb.Timestamp
	GetAlpha() float64
	GetMinRequests() int64
	GetMaxRelative() float64
}

func wanted(req resultsRequest, experiment string) evidence.Wanted {
	var since time.Time
	if t := req.GetSince(); t != nil {
		since = t.AsTime()
	}
	return evidence.Wanted{
		Model: req.GetModel(), Experiment: experiment, Baseline: req.GetBaseline(), Since: since,
		Alpha: req.GetAlpha(), MinRequests: req.GetMinRequests(), MaxRelative: req.GetMaxRelative(),
	}
}

// ListFeedback implements registryv1.RegistryServiceServer.
func (s *Server) ListFeedback(ctx context.Context, req *registryv1.ListFeedbackRequest) (*registryv1.ListFeedbackResponse, error) {
	query := store.FeedbackQuery{
		Model: req.GetModel(), Experiment: req.GetExperiment(), Arm: req.GetArm(), Commented: req.GetCommented(),
	}
	p := pager[*registryv1.Feedback]{
		scope: strings.Join([]string{"feedback", query.Model, query.Experiment, query.Arm, strconv.FormatBool(query.Commented)}, "/"),
		key:   store.FeedbackPlace,
		list: func(after string, limit int) ([]*registryv1.Feedback, error) {
			query.After, query.Limit = after, limit
			return s.store.ListFeedback(ctx, query)
		},
	}
	feedback, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListFeedbackResponse{Feedback: feedback, NextPageToken: next}, nil
}
