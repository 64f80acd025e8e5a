package search

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
)

// maxLookPause is the longest pause until a cluster that was away is looked at
// again.
const maxLookPause = time.Minute

// lookAtCluster says once, in the log and as a metric, whether the cluster would
// have analysers for the languages that the service analyses itself. It returns
// then, or when ctx ends.
func (s *Service) lookAtCluster(ctx context.Context) error {
	cluster, ok := s.index.(*elastic.Index)
	if !ok {
		return nil
	}
	log := s.opts.telemetry.Logger
	for pause := s.cfg.Index.PollInterval; ; pause = min(2*pause, max(maxLookPause, s.cfg.Index.PollInterval)) {
		found, err := cluster.Analysers(ctx)
		switch {
		case err == nil:
			attrs := make([]any, 0, len(found))
			for language, has := range found {
				s.metrics.ClusterAnalyser(ctx, language, has)
				attrs = append(attrs, slog.Bool(language, has))
			}
			log.InfoContext(ctx, "words are analysed by the service; the cluster's own analysers are not used",
				slog.Group("cluster_has", attrs...))
			return nil
		case elastic.MayNotLook(err):
			log.InfoContext(ctx, "words are analysed by the service; whether the cluster has analysers cannot be seen", telemetry.Err(err))
			return nil
		}
		if clock.Sleep(ctx, s.opts.clock, pause) != nil {
			return nil //nolint:nilerr // the process ends
		}
	}
}
