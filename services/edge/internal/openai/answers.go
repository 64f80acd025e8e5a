package openai

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/enduser"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/serving"
)

// HeaderSimilarity is how similar the question was that the answer was made for, of
// answers that are given to nearly the same question.
const HeaderSimilarity = "x-poterne-cache-similarity"

// Collections tells the state of a collection.
type Collections interface {
	GetCollection(ctx context.Context, in *searchv1.GetCollectionRequest, opts ...grpc.CallOption) (*searchv1.GetCollectionResponse, error)
}

// Answers is where answers are kept, and what their keys need.
type Answers struct {
	Cache *respcache.Cache
	// Serving remembers for a moment what would answer.
	Serving     *serving.Memory
	Collections Collections
	// Detectors stands for the configuration of the detectors.
	Detectors string
}

// DetectorsDigest is what stands for a configuration of the detectors.
func DetectorsDigest(c detect.Config) string {
	h := sha256.New()
	for _, r := range c.Rules {
		for _, list := range [][]string{r.Kinds, sides(r.On), r.Tenants, r.Models, {string(r.Action)}} {
			h.Write([]byte(strconv.Itoa(len(list))))
			for _, s := range list {
				h.Write([]byte(strconv.Quote(s)))
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sides(on []detect.Side) []string {
	out := make([]string, len(on))
	for i, s := range on {
		out[i] = string(s)
	}
	return out
}

// asked is a request that may be answered with what is kept.
type asked struct {
	req                 proto.Message
	operation           string
	model, user, cache  string
	extra               map[string]string
	chat, deterministic bool
	prompt              *edgev1.ChatPrompt
	retrieval           *edgev1.Retrieval
	logprob, memory     bool
}

// plan is what the cache may do for one request.
type plan struct {
	respcache.Ask

	tenant string
	hints  Hints
	scope  respcache.Scope
	// alone says that the answer in one form is none in the other.
	alone bool
	// serving is what would answer; remembered says that inference was not asked for it.
	serving    *inferencev1.ResolveServingResponse
	remembered bool
	// rests is told what the answer rests on; pack has the context builder find it.
	rests      *rests
	retrieval  *edgev1.Retrieval
	generation int64
	pack       func(ctx context.Context) (generation int64, degraded bool, err error)
	// similar is the question that may be compared; nil: none may.
	similar *question
	// replayed says that the answer was made for somebody before.
	replayed bool
	// renews says that a stale answer is made anew, which no request waits for.
	renews bool
	// spent is what the request had cost before its answer was made: an answer that
	// others may get, too, can be settled before its caller has read it.
	spent    int64
	degraded bool
}

// created is when an answer was made, for its caller: what was made before is new to
// them.
func (p *plan) created(by int64) int64 {
	if p != nil && p.replayed {
		return 0
	}
	return by
}

// cacheWish reads what the request asks of the cache.
func cacheWish(ctx context.Context, member string) (respcache.Wish, error) {
	return respcache.ParseWish(telemetry.FromIncoming(ctx, respcache.HeaderUse), telemetry.FromIncoming(ctx, respcache.HeaderControl), member)
}

// plan returns what the cache may do for a request; nil: nothing.
func (s *Server) plan(ctx context.Context, a *asked) (*plan, error) {
	if s.Answers == nil {
		return nil, nil //nolint:nilnil // there is no cache, and no plan
	}
	wish, err := cacheWish(ctx, a.cache)
	if err != nil {
		return nil, err
	}
	caller, _ := identity.FromContext(ctx)
	p := &plan{tenant: caller.Tenant, alone: a.logprob, retrieval: a.retrieval}
	p.Wish, p.Rule = wish, s.Answers.Cache.Rule(caller.Tenant, a.model)
	pass := p.Rule.Passes(wish, a.deterministic)
	if pass == "" {
		if p.hints, err = s.Config.Hints(ctx, a.extra); err != nil {
			return nil, err
		}
		pass = s.scope(ctx, p, a, caller)
	}
	if pass == "" {
		if p.Key, err = respcache.KeyOf(&p.scope, a.req); err == nil {
			return p, nil
		}
		pass = respcache.PassOther
	}
	s.Answers.Cache.Count(ctx, caller.Tenant, respcache.Bypass, pass, 0, 0)
	audit.From(ctx).SetCache(cacheBypass)
	explainBypass(ctx, pass)
	if wish.OnlyIfCached {
		return nil, errNotCached()
	}
	return nil, nil //nolint:nilnil // the request passes by
}

func errNotCached() error {
	return apierr.New(apierr.NotCached, "there is no answer kept that is as fresh as was asked, and only-if-cached wants no other")
}

// scope finds out what the answer depends on besides the request; not empty: why
// that is not known.
func (s *Server) scope(ctx context.Context, p *plan, a *asked, caller identity.Caller) (pass string) {
	ask := &inferencev1.ResolveServingRequest{
		Model: a.model, RoutingKey: routingKey(ctx, a.user), SessionId: p.hints.Session, ExperimentHeaders: p.hints.Headers, Chat: a.chat,
	}
	if a.prompt != nil {
		ask.Prompt = &inferencev1.Prompt{Id: a.prompt.GetId(), Version: a.prompt.GetVersion(), Variables: a.prompt.GetVariables()}
	}
	var err error
	if p.serving, p.remembered, err = s.Answers.Serving.Resolve(ctx, s.Inference, ask); err != nil || p.serving.GetDigest() == "" {
		return respcache.PassUnresolved
	}
	v, limits := p.serving, obligation.LimitsFrom(ctx)
	p.scope = respcache.Scope{
		Tenant: caller.Tenant, Operation: a.operation, Policy: audit.From(ctx).Policy(), Redact: obligation.From(ctx).Redact,
		Detectors: s.Answers.Detectors, Classes: limits.Classes.Filter(), Verdicts: string(limits.Verdicts), Model: v.GetModel(), Digest: v.GetDigest(), Experiment: v.GetExperiment(), Arm: v.GetArm(),
		PromptDigest: v.GetPromptDigest(), Variants: v.GetVariants(),
	}
	if p.Rule.PerSubject || a.memory { // a conversation is its owner's alone
		p.scope.Subject = caller.Subject
	}
	if a.retrieval != nil {
		if err := s.collectionState(ctx, p, a.retrieval.GetCollection(), caller); err != nil {
			return respcache.PassCollection
		}
	}
	// Last, so that what was purged while the rest was asked for is not answered.
	purged, known := s.Answers.Cache.Purges.Of(caller.Tenant, v.GetModel(), a.retrieval.GetCollection())
	if !known {
		return respcache.PassPurges
	}
	p.scope.Purged = purged
	return ""
}

// collectionState notes the state of a collection, and who may read what of it.
func (s *Server) collectionState(ctx context.Context, p *plan, id string, caller identity.Caller) error {
	resp, err := s.Answers.Collections.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: id})
	if err != nil {
		return err
	}
	c := resp.GetCollection()
	p.generation = c.GetGeneration()
	c.DocumentCount, c.ChunkCount = 0, 0 // estimates, which are not always the same
	state, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	p.scope.Collection, p.scope.Generation = id, string(state)
	for _, name := range caller.Principals {
		p.scope.Principals = append(p.scope.Principals, "principal:"+name)
	}
	for _, name := range caller.Roles {
		p.scope.Principals = append(p.scope.Principals, "role:"+name) // an administrator reads everything
	}
	return nil
}

func (s *Server) planChat(ctx context.Context, req *edgev1.CreateChatCompletionRequest, out *rests) (*plan, error) {
	if s.Answers == nil {
		return nil, nil //nolint:nilnil // there is no cache, and no plan
	}
	p, err := s.plan(ctx, &asked{
		req: req, operation: "chat", model: req.GetModel(), user: enduser.Of(req), cache: req.GetCache().GetJson(), extra: req.GetExtra(), chat: true,
		deterministic: req.Temperature != nil && req.GetTemperature() == 0, prompt: req.GetPrompt(), retrieval: req.GetRetrieval(),
		logprob: req.GetLogprobs(), memory: req.GetMemory() != nil,
	})
	if p == nil || err != nil {
		return nil, err
	}
	p.rests, p.similar = out, s.comparable(p, req)
	if retrieval, prompt := req.GetRetrieval(), req.GetPrompt(); retrieval != nil {
		p.pack = func(ctx context.Context) (int64, bool, error) {
			req.Retrieval, req.Prompt = retrieval, prompt
			found, err := s.retrieve(ctx, req, out)
			req.Retrieval, req.Prompt = nil, nil
			if err != nil {
				return 0, false, err
			}
			return found.Generation, found.Degraded, nil
		}
	}
	return p, nil
}

func (s *Server) planCompletion(ctx context.Context, req *edgev1.CreateCompletionRequest) (*plan, error) {
	if s.Answers == nil {
		return nil, nil //nolint:nilnil // there is no cache, and no plan
	}
	_, logprobs := req.GetExtra()["logprobs"]
	p, err := s.plan(ctx, &asked{
		req: req, operation: "completion", model: req.GetModel(), user: req.GetUser(), cache: req.GetCache().GetJson(), extra: req.GetExtra(),
		deterministic: req.Temperature != nil && req.GetTemperature() == 0, logprob: logprobs,
	})
	if p != nil {
		p.rests = new(rests)
	}
	return p, err
}
