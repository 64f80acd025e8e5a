package openai

import (
	"context"
	"maps"
	"math"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// vectors is one request's way to its vectors: those that are kept, those that
// somebody else has made at the moment, and those that it has made itself, for which
// alone it pays. An input that comes twice is embedded once.
type vectors struct {
	s    *Server
	p    *plan
	req  *edgev1.CreateEmbeddingRequest
	ask  *inferencev1.EmbedRequest
	keys []respcache.Key
	have map[respcache.Key]*respcache.Entry
	// inputs is what is embedded under each key.
	inputs map[respcache.Key]*workerv1.EmbedInput
	// paid is how many tokens this request had an engine read, and began whether it
	// asked one at all.
	paid  int32
	began bool
}

func (s *Server) newVectors(ctx context.Context, p *plan, req *edgev1.CreateEmbeddingRequest, ask *inferencev1.EmbedRequest) (*vectors, error) {
	keys, err := vectorKeys(p, req, ask.GetInputs())
	if err != nil {
		return nil, err
	}
	v := &vectors{
		s: s, p: p, req: req, ask: ask, keys: keys,
		have: make(map[respcache.Key]*respcache.Entry, len(keys)), inputs: make(map[respcache.Key]*workerv1.EmbedInput, len(keys)),
	}
	for i, e := range s.Answers.Cache.FindAll(ctx, &p.Ask, keys) {
		v.inputs[keys[i]] = ask.GetInputs()[i]
		if e != nil {
			v.have[keys[i]] = e
		}
	}
	return v, nil
}

// missing returns the keys of which there is no vector yet, each once, in order.
func (v *vectors) missing() (out []respcache.Key) {
	seen := make(map[respcache.Key]bool)
	for _, k := range v.keys {
		if v.have[k] == nil && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// kept is of how many inputs there are vectors.
func (v *vectors) kept() (n int) {
	for _, k := range v.keys {
		if v.have[k] != nil {
			n++
		}
	}
	return n
}

// gather has what is missing made. Vectors of two versions are never mixed: where
// another version answered for some, one is asked for all.
func (v *vectors) gather(ctx context.Context) error {
	for {
		missing := v.missing()
		if len(missing) == 0 {
			break
		}
		if err := v.join(ctx, missing); err != nil {
			return err
		}
	}
	if v.alike() {
		return nil
	}
	v.began = true
	ask := sameAs(v.ask) // the one before may be in hand still, where it lost against its hedge
	resp, err := v.s.embedAll(ctx, v.req, ask, true)
	if err != nil {
		return err
	}
	v.paid = sum(v.paid, resp.GetUsage().GetPromptTokens())
	maps.Copy(v.have, v.s.vectorsOf(v.p, v.keys, ask.GetInputs(), resp)) //nolint:contextcheck // what is kept is kept whoever leaves
	return nil
}

// join waits for keys' vectors, and begins those that nobody else has. Of those whose
// maker failed for a reason of its own some may still be missing then.
func (v *vectors) join(ctx context.Context, keys []respcache.Key) error {
	joined := v.s.Answers.Cache.JoinParts(keys, v.p.hurry(false), v.p.Wish.NoCache)
	defer joined.Leave()
	if joined.Mine != nil {
		if err := v.begin(ctx, joined.Mine); err != nil {
			return err
		}
		made, err := joined.Mine.Wait(ctx)
		if err != nil {
			return err
		}
		var tokens int32
		for _, e := range made {
			tokens = sum(tokens, e.Usage.GetPromptTokens())
		}
		v.paid = sum(v.paid, tokens)
		audit.From(ctx).SetTokens(v.paid, 0)
		maps.Copy(v.have, made)
	}
	for _, b := range joined.Others {
		made, err := b.Wait(ctx)
		if err != nil && (ctx.Err() != nil || !leadersOwn(err)) {
			return err
		}
		for _, k := range keys {
			if e := made[k]; e != nil && v.have[k] == nil {
				v.have[k] = e
			}
		}
	}
	return nil
}

// begin has the vectors of a batch made. What concerns this caller alone is done here:
// a refusal is theirs.
func (v *vectors) begin(ctx context.Context, b *respcache.Batch) error {
	ask := sameAs(v.ask)
	ask.Inputs = make([]*workerv1.EmbedInput, len(b.Keys))
	for i, k := range b.Keys {
		ask.Inputs[i] = v.inputs[k]
	}
	hold, err := v.s.Meters.Begin(ctx, v.s.embedDemand(v.req, ask, v.began), unaryHeader(ctx))
	if err != nil {
		b.Abandon()
		return err
	}
	v.began = true
	s, p, keys, second := v.s, v.p, b.Keys, v.s.embedDemand(v.req, ask, true)
	b.Start(ctx, func(ctx context.Context) (_ map[respcache.Key]*respcache.Entry, err error) {
		defer func() { hold.End(ctx, err) }()
		resp, err := s.embedOnce(ctx, ask, hold, second)
		if err != nil {
			return nil, err
		}
		return s.vectorsOf(p, keys, ask.GetInputs(), resp), nil //nolint:contextcheck // the same
	})
	return nil
}

// alike reports whether all vectors are of one making.
func (v *vectors) alike() bool {
	first := v.have[v.keys[0]].By
	same, right := true, true
	for _, k := range v.keys {
		by := v.have[k].By
		same = same && by.GetDigest() == first.GetDigest() && by.GetVariantDigest() == first.GetVariantDigest()
		right = right && servedAs(v.p.serving, by)
	}
	return same || right
}

// vectorsOf returns the vectors of an answer, each with its share of the tokens, and
// keeps those that are of what was to make them.
func (s *Server) vectorsOf(p *plan, keys []respcache.Key, inputs []*workerv1.EmbedInput, resp *inferencev1.EmbedResponse) map[respcache.Key]*respcache.Entry {
	tokens := shares(resp.GetUsage().GetPromptTokens(), inputs)
	keep := servedAs(p.serving, resp.GetServedBy())
	out := make(map[respcache.Key]*respcache.Entry, len(keys))
	for i, k := range keys {
		e := &respcache.Entry{
			By: resp.GetServedBy(), Chunks: [][]byte{vectorBytes(resp.GetEmbeddings()[i].GetValues())},
			Usage: &commonv1.TokenUsage{PromptTokens: tokens[i]},
		}
		out[k] = e
		if keep {
			one := p.Ask
			one.Key = k
			s.Answers.Cache.Keep(&one, e)
		}
	}
	return out
}

// sum adds counts of tokens; what is too large is the largest number.
func sum(a, b int32) int32 { return int32(min(int64(a)+int64(b), math.MaxInt32)) }
