package edge

import (
	"github.com/poterne/poterne/services/edge/internal/batches"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// newBatches makes what answers about files and batches.
func (s *Service) newBatches() {
	o := &s.opts
	s.files = files.New(files.Deps{Config: s.cfg.Files, Store: files.NewSQLStore(s.security.DB), Clock: o.clock, IDs: o.ids, Log: o.telemetry.Logger})
	s.batches = batches.New(batches.Deps{
		Config: s.cfg.Batches, Store: batches.NewSQLStore(s.security.DB), Address: s.security.Addresses.FromContext, Clock: o.clock, IDs: o.ids,
		Log: o.telemetry.Logger,
	})
}

// newRunner makes what works on batches: it asks what the HTTP port asks.
func (s *Service) newRunner() error {
	o := &s.opts
	m, err := metrics.NewBatches(o.telemetry.Meter(metrics.Scope))
	if err != nil {
		return err
	}
	s.runner = batches.NewRunner(batches.RunnerDeps{
		Config: s.cfg.Batches, Store: batches.NewSQLStore(s.security.DB), Files: s.files.Store, FileTTL: s.cfg.Files.TTL,
		Handler: s.handler, Holders: s.security, Wake: s.batches.Wake(), Clock: o.clock, IDs: o.ids, Log: o.telemetry.Logger, Metrics: m,
	})
	return nil
}
