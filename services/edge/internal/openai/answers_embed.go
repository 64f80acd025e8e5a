package openai

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// embed has texts embedded, but for those whose vectors are kept, and says who
// answered.
func (s *Server) embed(ctx context.Context, req *edgev1.CreateEmbeddingRequest, ask *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	p, err := s.planEmbedding(ctx, req)
	if err != nil {
		return nil, err
	}
	if p == nil {
		resp, err := s.embedAll(ctx, req, ask, false)
		if err != nil {
			return nil, err
		}
		return resp, tell(ctx, unaryHeader(ctx), namesOf(resp.GetServedBy()), resp.GetServedBy(), metadata.Pairs(HeaderCache, cacheBypass))
	}
	start := s.Clock.Now()
	v, err := s.newVectors(ctx, p, req, ask)
	if err != nil {
		return nil, err
	}
	kept := v.kept()
	s.explainVectors(ctx, p, kept, len(v.keys), start)
	if kept < len(v.keys) && p.Wish.OnlyIfCached {
		s.Answers.Cache.Count(ctx, p.tenant, respcache.Miss, "", 0, 0)
		return nil, errNotCached()
	}
	if err := v.gather(ctx); err != nil {
		return nil, err
	}
	state := respcache.Hit
	if v.began {
		state = respcache.Miss
	}
	out := &inferencev1.EmbedResponse{ServedBy: v.have[v.keys[0]].By, Usage: new(commonv1.TokenUsage)}
	for _, k := range v.keys {
		e := v.have[k]
		out.Usage.PromptTokens = sum(out.Usage.GetPromptTokens(), e.Usage.GetPromptTokens())
		out.Embeddings = append(out.Embeddings, &workerv1.Embedding{Values: vectorOf(e.Chunks[0])})
	}
	saved := max(out.GetUsage().GetPromptTokens()-v.paid, 0)
	s.Answers.Cache.Count(ctx, p.tenant, state, "", saved, 0)
	if saved > 0 || state == respcache.Hit {
		s.saved(ctx, metering.Work{Kind: metering.Embed, By: out.GetServedBy(), Tokens: &commonv1.TokenUsage{PromptTokens: saved}}, state == respcache.Hit)
	}
	audit.From(ctx).SetCache(string(state))
	names, md := namesOf(out.GetServedBy()), metadata.Pairs(HeaderCache, string(state))
	if state == respcache.Hit && kept == len(v.keys) { // else somebody has made some just now
		md = givenAgain(s.Clock.Now(), state, slices.Collect(maps.Values(v.have))...)
	}
	if state == respcache.Hit { // who made vectors for it has noted who did
		explainServing(ctx, names, out.GetServedBy(), md)
	}
	return out, tell(ctx, unaryHeader(ctx), names, out.GetServedBy(), md)
}

// embedAll has an engine embed texts; anew says that it did so for the request before.
func (s *Server) embedAll(ctx context.Context, req *edgev1.CreateEmbeddingRequest, ask *inferencev1.EmbedRequest, anew bool) (resp *inferencev1.EmbedResponse, err error) {
	hold, err := s.Meters.Begin(ctx, s.embedDemand(req, ask, anew), unaryHeader(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { hold.End(ctx, err) }()
	if resp, err = s.embedOnce(ctx, ask, hold, s.embedDemand(req, ask, true)); err != nil {
		return nil, err
	}
	audit.From(ctx).SetTokens(resp.GetUsage().GetPromptTokens(), 0)
	return resp, nil
}

func (s *Server) embedDemand(req *edgev1.CreateEmbeddingRequest, ask *inferencev1.EmbedRequest, anew bool) metering.Demand {
	return metering.Demand{
		Kind: metering.Embed, Model: req.GetModel(), User: req.GetUser(), PromptBytes: embedSize(ask.GetInputs()), Beside: anew,
	}
}

// embedOnce has an engine embed texts on account of a hold; second is what having them
// embedded beside that may come to.
func (s *Server) embedOnce(ctx context.Context, ask *inferencev1.EmbedRequest, hold metering.Hold, second metering.Demand) (*inferencev1.EmbedResponse, error) {
	resp, err := askUnary(ctx, s, ask.GetModel(), &twice[*inferencev1.EmbedResponse]{second, embedUse}, func(ctx context.Context, as attempt) (*inferencev1.EmbedResponse, error) {
		return s.Inference.Embed(ctx, trying(ask, as))
	})
	if err != nil {
		return nil, err
	}
	explainWork(ctx, resp.GetServedBy())
	hold.Note(embedUse(resp))
	if len(resp.GetEmbeddings()) != len(ask.GetInputs()) {
		return nil, engineFailed(fmt.Errorf("%d vectors for %d inputs", len(resp.GetEmbeddings()), len(ask.GetInputs())))
	}
	return resp, nil
}

// embedUse is what an answer used.
func embedUse(resp *inferencev1.EmbedResponse) metering.Use {
	return metering.Use{By: resp.GetServedBy(), Tokens: resp.GetUsage()}
}

func (s *Server) planEmbedding(ctx context.Context, req *edgev1.CreateEmbeddingRequest) (*plan, error) {
	if s.Answers == nil {
		return nil, nil //nolint:nilnil // there is no cache, and no plan
	}
	// The same text has the same vector.
	return s.plan(ctx, &asked{
		req: req, operation: "embedding", model: req.GetModel(), user: req.GetUser(), cache: req.GetCache().GetJson(), extra: req.GetExtra(),
		deterministic: true,
	})
}

func vectorKeys(p *plan, req *edgev1.CreateEmbeddingRequest, inputs []*workerv1.EmbedInput) ([]respcache.Key, error) {
	parts := make([][]byte, len(inputs))
	for i, in := range inputs {
		var err error
		if parts[i], err = (proto.MarshalOptions{Deterministic: true}).Marshal(in); err != nil {
			return nil, err
		}
	}
	return respcache.KeysOfParts(&p.scope, req, parts)
}

// shares divides the tokens of a batch by the sizes of its inputs: engines count a
// batch as one. The shares add up.
func shares(tokens int32, inputs []*workerv1.EmbedInput) []int32 {
	total, sum, given := int64(embedSize(inputs)), int64(0), int64(0)
	out := make([]int32, len(inputs))
	for i := range inputs {
		sum += int64(embedSize(inputs[i : i+1]))
		upTo := int64(tokens) * sum / max(total, 1)
		out[i] = int32(upTo - given)
		given = upTo
	}
	return out
}

func vectorBytes(values []float32) []byte {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

func vectorOf(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return out
}
