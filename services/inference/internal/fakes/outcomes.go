package fakes

import (
	"context"
	"slices"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// ReportOutcomes takes every batch.
func (r *Registry) ReportOutcomes(_ context.Context, req *registryv1.ReportOutcomesRequest) (*registryv1.ReportOutcomesResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = append(r.reported, req.GetBatches()...)
	return &registryv1.ReportOutcomesResponse{Applied: int32(len(req.GetBatches()))}, nil
}

// Reported are the batches that came.
func (r *Registry) Reported() []*registryv1.OutcomeBatch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.reported)
}
