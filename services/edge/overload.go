package edge

import (
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/overload"
)

// gated is the inference service behind the limit of requests at once, where there is
// one.
func (s *Service) gated(next inferencev1.InferenceServiceClient) (inferencev1.InferenceServiceClient, error) {
	if !s.cfg.Overload.Enabled {
		return next, nil
	}
	m, err := metrics.NewOverload(s.opts.telemetry.Meter(metrics.Scope))
	if err != nil {
		return nil, err
	}
	return overload.Behind(next, overload.New(s.cfg.Overload, s.opts.clock, m)), nil
}
