package openai

import (
	"context"

	"github.com/poterne/poterne/pkg/jsonwalk"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// unchanged reports whether nothing in the gateway has changed, or is yet to change, what
// a conversation says to the engine: neither a policy, nor a route, nor what adds to the
// prompt. What detectors and the cache do, the caller knows.
func unchanged(ctx context.Context, req *edgev1.CreateChatCompletionRequest) bool {
	return req.GetRetrieval() == nil && req.GetPrompt() == nil && req.GetMemory() == nil && len(req.GetStreamOptions().GetExtra()) == 0 &&
		routedFrom(ctx) == nil && obligation.From(ctx) == (obligation.Set{})
}

// asAsked is the engine's body of a conversation that is unchanged: the text that it came
// as, which is written as the gateway writes it, without what is the gateway's own. nil: it
// must be written.
func asAsked(text []byte, req *edgev1.CreateChatCompletionRequest) []byte {
	if len(text) == 0 || req.Stream == nil && req.GetStreamOptions() == nil && req.GetCache() == nil {
		return text
	}
	var room [3]jsonwalk.Span
	own := room[:0]
	walk := jsonwalk.NewWalk(text)
	for {
		name, at, ok := walk.Next()
		if !ok {
			break
		}
		switch string(name) {
		case "stream", "stream_options", "cache":
			own = append(own, at)
		}
	}
	if !walk.OK() {
		return nil
	}
	return jsonwalk.Without(text, own...)
}
