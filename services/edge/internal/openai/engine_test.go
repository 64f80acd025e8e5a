package openai

import (
	"context"
	"io"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// watching is an engine that looks at what its caller keeps of the request.
type watching struct {
	engine
	kept []int // bytes, each time that the next part of the answer is waited for
}

func (k *watching) InvokeStream(ctx context.Context, req *inferencev1.InvokeRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error) {
	events, err := k.engine.InvokeStream(ctx, req, opts...)
	return &watchedStream{ServerStreamingClient: events, engine: k, req: req}, err
}

type watchedStream struct {
	grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse]
	engine *watching
	req    *inferencev1.InvokeRequest
}

func (s *watchedStream) Recv() (*inferencev1.InvokeStreamResponse, error) {
	s.engine.kept = append(s.engine.kept, len(s.req.GetBody()))
	return s.ServerStreamingClient.Recv()
}

// Until the first part of an answer another engine may be asked; from then on the
// prompt is not kept for as long as the stream is open.
func TestAStreamLetsItsPromptGo(t *testing.T) {
	e := &watching{engine: engine{fail: io.ErrUnexpectedEOF}}
	s, ctx := metered(t, new(meter), &e.engine)
	s.Inference = e
	_ = s.StreamChatCompletion(hello(), callerStream{ctx: ctx})
	if len(e.kept) != 3 || e.kept[1] == 0 || e.kept[2] != 0 {
		t.Errorf("%v bytes of the prompt were kept", e.kept)
	}
}
