package overload

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/inproc"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// Inference is a client of the inference service whose requests for models' work pass a
// gate. Other calls do not.
type Inference struct {
	inferencev1.InferenceServiceClient
	gate *Gate
}

// Behind returns next behind the gate.
func Behind(next inferencev1.InferenceServiceClient, g *Gate) *Inference { return &Inference{next, g} }

func priorityOf(p inferencev1.Priority) Priority {
	switch p {
	case inferencev1.Priority_PRIORITY_INTERACTIVE:
		return Interactive
	case inferencev1.Priority_PRIORITY_BATCH:
		return Batch
	case inferencev1.Priority_PRIORITY_UNSPECIFIED, inferencev1.Priority_PRIORITY_STANDARD:
		return Standard
	default:
		return Standard
	}
}

// unary makes a call that has one answer.
func unary[T any](ctx context.Context, g *Gate, p inferencev1.Priority, call func() (T, error)) (out T, err error) {
	v, err := g.Enter(ctx, priorityOf(p))
	if err != nil {
		return out, err
	}
	defer v.Leave()
	out, err = call()
	v.Answered(ctx, err)
	return out, err
}

// Invoke implements inferencev1.InferenceServiceClient.
func (c *Inference) Invoke(ctx context.Context, in *inferencev1.InvokeRequest, opts ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	return unary(ctx, c.gate, in.GetPriority(), func() (*inferencev1.InvokeResponse, error) {
		return c.InferenceServiceClient.Invoke(ctx, in, opts...)
	})
}

// Embed implements inferencev1.InferenceServiceClient.
func (c *Inference) Embed(ctx context.Context, in *inferencev1.EmbedRequest, opts ...grpc.CallOption) (*inferencev1.EmbedResponse, error) {
	return unary(ctx, c.gate, in.GetPriority(), func() (*inferencev1.EmbedResponse, error) {
		return c.InferenceServiceClient.Embed(ctx, in, opts...)
	})
}

// Rerank implements inferencev1.InferenceServiceClient.
func (c *Inference) Rerank(ctx context.Context, in *inferencev1.RerankRequest, opts ...grpc.CallOption) (*inferencev1.RerankResponse, error) {
	return unary(ctx, c.gate, in.GetPriority(), func() (*inferencev1.RerankResponse, error) {
		return c.InferenceServiceClient.Rerank(ctx, in, opts...)
	})
}

// InferTensors implements inferencev1.InferenceServiceClient.
func (c *Inference) InferTensors(ctx context.Context, in *inferencev1.InferTensorsRequest, opts ...grpc.CallOption) (*inferencev1.InferTensorsResponse, error) {
	return unary(ctx, c.gate, in.GetPriority(), func() (*inferencev1.InferTensorsResponse, error) {
		return c.InferenceServiceClient.InferTensors(ctx, in, opts...)
	})
}

// InvokeStream implements inferencev1.InferenceServiceClient.
func (c *Inference) InvokeStream(ctx context.Context, in *inferencev1.InvokeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error) {
	v, err := c.gate.Enter(ctx, priorityOf(in.GetPriority()))
	if err != nil {
		return nil, err
	}
	out, err := c.InferenceServiceClient.InvokeStream(ctx, in, inproc.Watching(opts, func(answer any) {
		if event, ok := answer.(*inferencev1.InvokeStreamResponse); ok {
			begins(ctx, v, event)
		}
	})...)
	if err != nil {
		v.Answered(ctx, err)
		v.Leave()
		return nil, err
	}
	// Whoever asked may leave before the end: then the stream's context ends.
	stop := context.AfterFunc(out.Context(), v.Leave) //nolint:contextcheck // the stream's own
	return &stream{out, v, stop}, nil
}

// stream leaves the gate with its end.
type stream struct {
	grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse]
	visit *Visit
	stop  func() bool
}

// Recv implements grpc.ServerStreamingClient.
func (s *stream) Recv() (*inferencev1.InvokeStreamResponse, error) {
	event, err := s.ServerStreamingClient.Recv()
	if err != nil {
		s.visit.Answered(s.Context(), err)
		s.stop()
		s.visit.Leave()
	} else {
		begins(s.Context(), s.visit, event)
	}
	return event, err
}

// begins notes that an answer has begun with an event, if that is of it.
func begins(ctx context.Context, v *Visit, event *inferencev1.InvokeStreamResponse) {
	if event.GetServedBy() == nil { // that is said before anything is there
		v.Answered(ctx, nil)
	}
}
