package edge

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/overload"
)

// gate is the limit of requests at once at a backend.
func (s *Service) gate(backend string, cfg overload.Config) (*overload.Gate, error) {
	m, err := metrics.NewOverload(s.opts.telemetry.Meter(metrics.Scope), backend)
	if err != nil {
		return nil, err
	}
	return overload.New(cfg, s.opts.clock, m), nil
}

// gated is the inference service behind the limit of requests at once, where there is
// one.
func (s *Service) gated(next inferencev1.InferenceServiceClient) (inferencev1.InferenceServiceClient, error) {
	if !s.cfg.Overload.Enabled {
		return next, nil
	}
	g, err := s.gate(InferenceName, s.cfg.Overload)
	if err != nil {
		return nil, err
	}
	return overload.Behind(next, g), nil
}

// gateBackends puts search and the registry behind limits of their own, where there are
// such: what callers ask of them. What the edge reads for itself does not pass.
func (s *Service) gateBackends() error {
	for _, b := range []struct {
		name string
		cfg  overload.Config
		long []string
		conn *grpc.ClientConnInterface
	}{
		{SearchName, s.cfg.SearchOverload, searchWork(), &s.backends.search},
		{RegistryName, s.cfg.RegistryOverload, registryWork(), &s.backends.registry},
	} {
		if !b.cfg.Enabled {
			continue
		}
		g, err := s.gate(b.name, b.cfg)
		if err != nil {
			return err
		}
		*b.conn = overload.Before(*b.conn, g, func(ctx context.Context, method string) overload.Class {
			return s.class(ctx, slices.Contains(b.long, method))
		})
	}
	return nil
}

// class is how a call passes: as urgent as its request says. What brings work along is
// less urgent than questions, unless the request says otherwise.
func (s *Service) class(ctx context.Context, work bool) overload.Class {
	c := overload.Class{Priority: overload.Standard, Long: work}
	switch s.cfg.OpenAI.Priority(ctx) {
	case inferencev1.Priority_PRIORITY_INTERACTIVE:
		c.Priority = overload.Interactive
	case inferencev1.Priority_PRIORITY_BATCH:
		c.Priority = overload.Batch
	case inferencev1.Priority_PRIORITY_STANDARD:
	case inferencev1.Priority_PRIORITY_UNSPECIFIED:
		if work {
			c.Priority = overload.Batch
		}
	}
	return c
}

// searchWork is the calls that take as long as what they bring is much.
func searchWork() []string {
	return []string{
		searchv1.SearchService_BatchUpsertDocuments_FullMethodName,
		searchv1.SearchService_DeleteCollection_FullMethodName,
	}
}

// registryWork is that of the registry.
func registryWork() []string {
	return []string{
		registryv1.RegistryService_RecordFeedback_FullMethodName,
		registryv1.ArtifactService_CompleteUpload_FullMethodName,
	}
}
