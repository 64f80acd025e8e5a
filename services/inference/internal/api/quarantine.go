package api

import (
	"context"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// LiftQuarantine ends quarantines on one worker. The placement of every replica
// sees it in the worker's state, and has the versions loaded there again if that
// is where they should be.
func (s *Server) LiftQuarantine(ctx context.Context, req *inferencev1.LiftQuarantineRequest) (*inferencev1.LiftQuarantineResponse, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return nil, errNotKnown()
	}
	if err := s.checkSeen(ctx, snapshot, req.GetModel()); err != nil {
		return nil, err
	}
	names, err := digestsOf(snapshot, req.GetModel())
	if err != nil {
		return nil, err
	}
	w, err := s.worker(req.GetWorkerId())
	if err != nil {
		return nil, err
	}
	resp := new(inferencev1.LiftQuarantineResponse)
	for _, m := range w.Report().State.GetModels() {
		version, ours := names[m.GetDigest()]
		if !ours || m.GetState() != workerv1.ModelState_MODEL_STATE_QUARANTINED {
			continue
		}
		// A worker that does not know quarantine_only has nothing to unload either.
		_, err := w.Client().UnloadModel(ctx, &workerv1.UnloadModelRequest{Digest: m.GetDigest(), QuarantineOnly: true})
		if err != nil {
			return nil, err
		}
		resp.Lifted = append(resp.Lifted, &inferencev1.LiftedQuarantine{
			Digest: m.GetDigest(), Model: version.Model, Version: version.Number, Error: m.GetError(),
		})
	}
	if len(resp.GetLifted()) == 0 {
		return nil, apierr.New(apierr.FailedPrecondition, "worker %s has nothing of %s in quarantine", w.ID(), req.GetModel()).WithField("model")
	}
	slices.SortFunc(resp.GetLifted(), func(a, b *inferencev1.LiftedQuarantine) int { return strings.Compare(a.GetDigest(), b.GetDigest()) })
	return resp, nil
}

// worker returns the worker of that id that can be asked.
func (s *Server) worker(id string) (*fleet.Worker, error) {
	var away *fleet.Worker
	for _, w := range s.opts.Fleet.View().Workers {
		switch {
		case w.ID() != id:
		case w.Report().Connected:
			return w, nil
		default:
			away = w // another may have the id while a worker moves
		}
	}
	if away != nil {
		return nil, apierr.New(apierr.Unavailable, "worker %s is not connected", id).WithField("worker_id")
	}
	return nil, apierr.New(apierr.NotFound, "there is no worker %q", id).WithField("worker_id")
}

// digestsOf returns what may be loaded for a reference: of a bare name all the
// model's versions, and otherwise one; each with its variants.
func digestsOf(snapshot *catalog.Snapshot, model string) (map[string]*catalog.Version, error) {
	m, all := snapshot.Model(model)
	var only *catalog.Version
	if !all {
		target, err := snapshot.Resolve(model, "")
		if err != nil {
			return nil, err
		}
		only = target.Version
		m, _ = snapshot.Model(only.Model)
	}
	out := make(map[string]*catalog.Version)
	for _, v := range m.State.GetVersions() {
		version := m.Number(v.GetNumber())
		if version == nil || only != nil && version.Number != only.Number {
			continue
		}
		out[v.GetDigest()] = version
		for _, variant := range v.GetVariants() {
			out[variant.GetDigest()] = version
		}
	}
	return out, nil
}
