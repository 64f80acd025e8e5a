package openai

import (
	"context"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

// demand is what the meters are asked for before c's request goes to the engine.
func (s *Server) demand(c call, req *inferencev1.InvokeRequest) metering.Demand {
	return metering.Demand{
		Kind: metering.Generate, Model: c.model, User: c.user, PromptBytes: len(req.GetBody()), MaxTokens: c.maxTokens, Answers: c.answers,
		Count: func(ctx context.Context) (int64, error) {
			if c.rests != nil && c.rests.tokens > 0 {
				return int64(c.rests.tokens), nil // counted when passages were packed
			}
			resp, err := s.Inference.CountTokens(ctx, &inferencev1.CountTokensRequest{
				Model: req.GetModel(), Operation: req.GetOperation(), Body: req.GetBody(), RoutingKey: req.GetRoutingKey(),
				SessionId: req.GetSessionId(), ExperimentHeaders: req.GetExperimentHeaders(),
				Prompt: req.GetPrompt(), ServingPrompt: true,
			})
			return int64(resp.GetPromptTokens()), err
		},
	}
}

// embedSize is the bytes of texts, and four for each token that is given as a number.
func embedSize(inputs []*workerv1.EmbedInput) int {
	n := 0
	for _, in := range inputs {
		n += len(in.GetText()) + 4*len(in.GetTokens().GetIds())
	}
	return n
}

func rerankSize(query string, documents []string) int {
	n := 0
	for _, d := range documents {
		n += len(query) + len(d) // each document is read with the query
	}
	return n
}
