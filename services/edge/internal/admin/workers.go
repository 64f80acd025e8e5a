package admin

import (
	"context"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// ListWorkers asks inference.
func (s *Server) ListWorkers(ctx context.Context, req *edgev1.ListWorkersRequest) (*edgev1.ListWorkersResponse, error) {
	resp, err := s.inference.ListWorkers(ctx, &inferencev1.ListWorkersRequest{
		PageSize: req.GetPageSize(), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	return &edgev1.ListWorkersResponse{Workers: resp.GetWorkers(), NextPageToken: resp.GetNextPageToken()}, nil
}

// LiftQuarantine has inference do it.
func (s *Server) LiftQuarantine(ctx context.Context, req *edgev1.LiftQuarantineRequest) (*edgev1.LiftQuarantineResponse, error) {
	resp, err := s.inference.LiftQuarantine(ctx, &inferencev1.LiftQuarantineRequest{
		WorkerId: req.GetWorkerId(), Model: req.GetModel(),
	})
	if err != nil {
		return nil, err
	}
	return &edgev1.LiftQuarantineResponse{Lifted: resp.GetLifted()}, nil
}
