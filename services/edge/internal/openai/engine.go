package openai

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// call is a request on its way to the engine.
type call struct {
	model     string
	operation workerv1.Operation
	user      string
	body      proto.Message
}

func (s *Server) request(ctx context.Context, c call) (*inferencev1.InvokeRequest, error) {
	body, err := s.Codec.Marshal(c.body)
	if err != nil {
		return nil, err
	}
	return &inferencev1.InvokeRequest{
		Model: c.model, Operation: c.operation, Body: body, RoutingKey: routingKey(ctx, c.user),
	}, nil
}

// invoke runs a request and reads the engine's whole answer into answer.
func (s *Server) invoke(ctx context.Context, c call, answer proto.Message) (*commonv1.TokenUsage, error) {
	req, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	resp, err := s.Inference.Invoke(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := served(ctx, unaryHeader(ctx), resp.GetServedBy()); err != nil {
		return nil, err
	}
	audit.From(ctx).SetTokens(resp.GetUsage().GetPromptTokens(), resp.GetUsage().GetCompletionTokens())
	if err := s.Codec.Unmarshal(resp.GetBody(), answer); err != nil {
		return nil, engineFailed(fmt.Errorf("%s: %w", resp.GetServedBy().GetWorkerId(), err))
	}
	return resp.GetUsage(), nil
}

// stream runs a request and gives each of the engine's chunks to send, in
// order. It returns the tokens used once the answer is whole.
func (s *Server) stream(ctx context.Context, c call, setHeader func(metadata.MD) error, send func(chunk []byte) error) (*commonv1.TokenUsage, error) {
	req, err := s.request(ctx, c)
	if err != nil {
		return nil, err
	}
	// Leaving early, for whatever reason, stops the work on the engine.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.Inference.InvokeStream(ctx, req)
	if err != nil {
		return nil, err
	}
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			return nil, engineFailed(errors.New("the stream ended without its end"))
		}
		if err != nil {
			return nil, err
		}
		switch e := event.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			err = served(ctx, setHeader, e.ServedBy)
		case *inferencev1.InvokeStreamResponse_Chunk:
			err = send(e.Chunk)
		case *inferencev1.InvokeStreamResponse_Finish:
			usage := e.Finish.GetUsage()
			audit.From(ctx).SetTokens(usage.GetPromptTokens(), usage.GetCompletionTokens())
			return usage, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// usageOf returns usage in OpenAI's shape, for engines that tell it beside
// their answer.
func usageOf(u *commonv1.TokenUsage) *edgev1.Usage {
	if u == nil {
		return nil
	}
	out := &edgev1.Usage{
		PromptTokens: u.GetPromptTokens(), CompletionTokens: u.GetCompletionTokens(),
		TotalTokens: u.GetPromptTokens() + u.GetCompletionTokens(),
	}
	if n := u.GetCachedPromptTokens(); n > 0 {
		out.PromptTokensDetails = &edgev1.PromptTokensDetails{CachedTokens: n}
	}
	return out
}

// or returns the first value unless it is the zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
