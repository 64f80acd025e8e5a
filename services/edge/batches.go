package edge

import (
	"context"
	"errors"

	"github.com/poterne/poterne/services/edge/internal/batches"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// newBatches makes what answers about files and batches.
func (s *Service) newBatches(ctx context.Context) error {
	o := &s.opts
	places, err := s.filePlaces(ctx)
	if err != nil {
		return err
	}
	store := files.NewSQLStore(s.security.DB, places...)
	s.files = files.New(files.Deps{Config: s.cfg.Files, Store: store, Clock: o.clock, IDs: o.ids, Log: o.telemetry.Logger})
	s.batches = batches.New(batches.Deps{
		Config: s.cfg.Batches, Store: batches.NewSQLStore(s.security.DB), Address: s.security.Addresses.FromContext, Clock: o.clock, IDs: o.ids,
		Log: o.telemetry.Logger,
	})
	return nil
}

// filePlaces are where files may lie, that of new ones first.
func (s *Service) filePlaces(ctx context.Context) ([]files.Place, error) {
	cfg := s.cfg.Files
	places := []files.Place{{Name: files.PlaceRows}}
	add := func(p files.Place, newFiles bool) {
		places = append(places, p)
		if last := len(places) - 1; newFiles {
			places[0], places[last] = places[last], places[0]
		}
	}
	if cfg.Directory != "" {
		known, err := files.Known(ctx, s.security.DB, files.PlaceDirectory)
		if err != nil {
			return nil, err
		}
		d, err := files.OpenDirectory(cfg.Directory, known)
		if err != nil {
			return nil, err
		}
		s.closers = append(s.closers, d.Close)
		add(files.Place{Name: files.PlaceDirectory, Contents: d}, cfg.Contents == files.ContentsDirectory)
	}
	if cfg.Bucket.Name != "" {
		if s.opts.bucket == nil {
			return nil, errors.New("files.bucket: this program is built without a client of buckets; poterne-edge has one")
		}
		b, err := s.opts.bucket(cfg.Bucket)
		if err != nil {
			return nil, err
		}
		add(files.Place{Name: files.PlaceBucket, Contents: b}, cfg.Contents == files.ContentsBucket)
	}
	return places, nil
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
