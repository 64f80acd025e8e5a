package api

import (
	"context"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// ResolveServing says which version would answer a request: what begin decides for
// it, without the request. It counts for nothing and asks no worker.
func (s *Server) ResolveServing(ctx context.Context, req *inferencev1.ResolveServingRequest) (*inferencev1.ResolveServingResponse, error) {
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return nil, errNotKnown()
	}
	if err := s.checkSeen(ctx, snapshot, req.GetModel()); err != nil {
		return nil, err
	}
	c, _ := identity.FromContext(ctx)
	who := split.Subject{
		User: req.GetRoutingKey(), Session: req.GetSessionId(), Request: requestid.FromContext(ctx),
		Tenant: c.Tenant, Caller: c.Subject, Roles: c.Roles, Headers: req.GetExperimentHeaders(),
	}
	target, err := snapshot.Decide(req.GetModel(), &who)
	if err != nil {
		return nil, err
	}
	m, _ := snapshot.Model(target.Version.Model)
	j := job{target: target, model: m, snapshot: snapshot}
	s.choose(snapshot, &j)
	out := &inferencev1.ResolveServingResponse{
		Model: target.Version.Model, Version: target.Version.Number, Digest: target.Version.Digest,
		Experiment: target.Experiment, Arm: target.Arm, Revision: snapshot.Revision(),
		Basis: snapshot.Basis(req.GetModel(), &who),
	}
	for _, v := range j.allowed {
		out.Variants = append(out.Variants, v.Digest)
	}
	if !req.GetChat() || req.GetPrompt() == nil && target.Prompt == nil {
		return out, nil
	}
	if _, err := s.promptOf(req.GetPrompt(), &j); err != nil {
		return nil, err
	}
	out.PromptDigest = j.prompt.Digest
	return out, nil
}
