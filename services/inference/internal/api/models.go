package api

import (
	"context"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/reference"
)

const defaultModels = 1000

// ListServedModels lists the models by name.
func (s *Server) ListServedModels(ctx context.Context, req *inferencev1.ListServedModelsRequest) (*inferencev1.ListServedModelsResponse, error) {
	after, err := readToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return nil, errNotKnown()
	}
	models, more := s.page(ctx, snapshot, after, pageSize(req.GetPageSize(), defaultModels))
	view := s.opts.Fleet.View()
	resp := &inferencev1.ListServedModelsResponse{Models: make([]*inferencev1.ServedModel, 0, len(models))}
	for _, m := range models {
		resp.Models = append(resp.Models, s.served(m, m.Default(), m.Reachable(), view))
	}
	if more {
		resp.NextPageToken = writeToken(models[len(models)-1].Name())
	}
	return resp, nil
}

// GetServedModel returns one model. A reference that names a version is
// answered with that version in the default's place.
func (s *Server) GetServedModel(ctx context.Context, req *inferencev1.GetServedModelRequest) (*inferencev1.GetServedModelResponse, error) {
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return nil, errNotKnown()
	}
	if err := s.checkSeen(ctx, snapshot, req.GetModel()); err != nil {
		return nil, err
	}
	view := s.opts.Fleet.View()
	if m, ok := snapshot.Model(req.GetModel()); ok {
		return &inferencev1.GetServedModelResponse{Model: s.served(m, m.Default(), m.Reachable(), view)}, nil
	}
	target, err := snapshot.Resolve(req.GetModel(), "")
	if err != nil {
		return nil, err
	}
	m, _ := snapshot.Model(target.Version.Model)
	return &inferencev1.GetServedModelResponse{
		Model: s.served(m, target.Version, []*catalog.Version{target.Version}, view),
	}, nil
}

// served describes a model. def is the version shown; reachable are those whose
// state counts.
func (s *Server) served(m *catalog.Model, def *catalog.Version, reachable []*catalog.Version, view *fleet.View) *inferencev1.ServedModel {
	out := &inferencev1.ServedModel{
		Name: m.Name(), CreateTime: m.State.GetModel().GetCreateTime(),
		State: inferencev1.ServingState_SERVING_STATE_UNAVAILABLE, Aliases: make(map[string]int32, len(m.Aliases)),
	}
	for alias, v := range m.Aliases {
		out.Aliases[alias] = v.Number
	}
	if def == nil && len(reachable) > 0 {
		def = reachable[0] // only a split decides: its first arm speaks for it
	} else if def != nil {
		out.DefaultVersion, out.Digest = def.Number, def.Digest
	}
	s.describe(out, m, def, view)
	s.listVariants(out, m, def, view)
	workers := make(map[*fleet.Worker]bool)
	for _, v := range reachable {
		allowed, _ := s.allowed(m, v)
		for _, one := range allowed {
			for _, c := range view.Ready(one.Digest) {
				workers[c.Worker()] = true
			}
			if view.Loading(one.Digest) > 0 && out.GetState() != inferencev1.ServingState_SERVING_STATE_READY {
				out.State = inferencev1.ServingState_SERVING_STATE_LOADING
			}
		}
	}
	if len(workers) > 0 {
		out.State = inferencev1.ServingState_SERVING_STATE_READY
	}
	out.ReadyWorkers = int32(len(workers))
	if s.opts.Variants != nil {
		out.PlacementProblem = s.opts.Variants.Problem(m.State.GetModel().GetLabels())
	}
	if s.opts.Placement != nil {
		for _, v := range reachable {
			s.place(out, v)
		}
	}
	return out
}

// place adds up what is planned for the versions that the name may reach.
func (s *Server) place(out *inferencev1.ServedModel, v *catalog.Version) {
	status, ok := s.opts.Placement.Status(v)
	if !ok {
		return
	}
	out.DesiredReplicas += int32(status.Desired)
	out.MinReplicas += int32(status.Min)
	out.MaxReplicas += int32(status.Max)
	if out.GetPlacementProblem() == "" {
		out.PlacementProblem = status.Problem
	}
}

// describe fills in what the version says of itself, and where the engines know
// better, what they say: one slot may have less context than the model could.
func (s *Server) describe(out *inferencev1.ServedModel, m *catalog.Model, v *catalog.Version, view *fleet.View) {
	if v == nil && len(m.Versions) > 0 {
		v = m.Versions[len(m.Versions)-1]
	}
	if v == nil {
		out.Task = commonv1.Task_TASK_UNSPECIFIED
		return
	}
	out.Task = v.Spec.GetTask()
	out.ContextLength = v.Spec.GetContextLength()
	out.EmbeddingDimensions = v.Spec.GetEmbeddingDimensions()
	var reported int32
	allowed, _ := s.allowed(m, v)
	for _, one := range allowed {
		for _, l := range loaded(view, one.Digest) {
			if n := l.GetContextLength(); n > 0 && (reported == 0 || n < reported) {
				reported = n
			}
			if out.GetEmbeddingDimensions() == 0 {
				out.EmbeddingDimensions = l.GetEmbeddingDimensions()
			}
		}
	}
	if reported > 0 {
		out.ContextLength = reported
	}
}

// loaded returns what workers say of their ready copies of a digest.
func loaded(view *fleet.View, digest string) (out []*workerv1.LoadedModel) {
	for _, c := range view.Ready(digest) {
		for _, l := range c.Worker().Report().State.GetModels() {
			if l.GetDigest() == digest {
				out = append(out, l)
			}
		}
	}
	return out
}

// maxToken bounds what a page token may hold.
const maxToken = max(reference.MaxName, 256)
