package openai

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// What became of an answer that the cache saw.
const (
	keptWell      = "kept"
	keptMoved     = "moved"     // something else answered than was to
	keptDegraded  = "degraded"  // its passages are not those that were asked for
	keptBroken    = "broken"    // it has no end
	keptTruncated = "truncated" // it ended at max_tokens
	keptTools     = "tools"     // it calls tools
	keptFiltered  = "filtered"  // the engine ended it for another reason
	keptSize      = "size"      // it is too large, or not to be kept for any time
)

// keep keeps an answer that may be given again.
func (s *Server) keep(ctx context.Context, c call, ask *respcache.Ask, e *respcache.Entry) {
	outcome := s.worth(c, ask, e)
	if outcome == keptWell {
		if !s.Answers.Cache.Keep(ask, e) { //nolint:contextcheck // nobody waits for what is shared
			outcome = keptSize
		} else if q := c.plan.similar; q != nil && q.vector != nil {
			s.Answers.Cache.Remember(q.scope, q.vector, ask.Key)
		}
	}
	s.Answers.Cache.Metrics.Kept(ctx, outcome)
}

// worth says whether an answer is to be kept, or why not.
func (s *Server) worth(c call, ask *respcache.Ask, e *respcache.Entry) string {
	if c.plan.degraded {
		return keptDegraded
	}
	if !servedAs(c.plan.serving, e.By) {
		return keptMoved
	}
	end, ok := s.end(c, e.Chunks)
	if !ok || len(end.finish) == 0 {
		return keptBroken
	}
	tools, truncated := ask.Rule.Tools || ask.Wish.Tools, ask.Rule.Truncated || ask.Wish.Truncated
	if end.tools && !tools {
		return keptTools
	}
	for _, reason := range end.finish {
		switch reason {
		case "stop":
		case "":
			return keptBroken
		case "length":
			if !truncated {
				return keptTruncated
			}
		case "tool_calls", "function_call":
			if !tools {
				return keptTools
			}
		default:
			return keptFiltered
		}
	}
	return keptWell
}

// servedAs reports whether an answer is of what was to make it, and of the best form
// of that: one that only stood in is not kept in its place.
func servedAs(want *inferencev1.ResolveServingResponse, by *inferencev1.ServedBy) bool {
	return by.GetDigest() == want.GetDigest() && by.GetArm() == want.GetArm() && by.GetExperiment() == want.GetExperiment() &&
		by.GetPromptDigest() == want.GetPromptDigest() && by.GetContinuations() == 0 &&
		by.GetVariantReason() == inferencev1.VariantReason_VARIANT_REASON_UNSPECIFIED &&
		(len(want.GetVariants()) == 0 || slices.Contains(want.GetVariants(), by.GetVariantDigest()))
}

// marshalAll writes messages as JSON, each by itself.
func marshalAll[M proto.Message](s *Server, messages []M) ([][]byte, bool) {
	out := make([][]byte, len(messages))
	for i, m := range messages {
		data, err := s.Codec.Marshal(m)
		if err != nil {
			return nil, false
		}
		out[i] = data
	}
	return out, true
}
