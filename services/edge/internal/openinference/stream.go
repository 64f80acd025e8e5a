package openinference

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/openai"
)

// ModelStreamInfer answers the requests of a stream one after the other, each
// with all its answers, in order. All are for one model, so that the record of
// the stream in the audit trail says what it was about. A request that fails is
// answered with its error and the stream goes on; one that the gateway refuses
// (package middleware) ends it.
func (s *Server) ModelStreamInfer(stream grpc.BidiStreamingServer[oip.ModelInferRequest, oip.ModelStreamInferResponse]) error {
	out := &answers{stream: stream}
	var model, version string
	for first := true; ; first = false {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if first {
			model, version = req.GetModelName(), req.GetModelVersion()
		} else if req.GetModelName() != model || req.GetModelVersion() != version {
			return apierr.Invalid("model_name", "model_name: a stream is for one model, %q here: open another for %q", model, req.GetModelName())
		}
		if err := s.answerAll(stream.Context(), req, out); err != nil {
			return err
		}
	}
}

// answers is the way back of a stream.
type answers struct {
	stream grpc.BidiStreamingServer[oip.ModelInferRequest, oip.ModelStreamInferResponse]
	begun  bool // something was sent, and the header with it
}

// setHeader adds to the header while it can be.
func (a *answers) setHeader(md metadata.MD) error {
	if a.begun {
		return nil
	}
	return a.stream.SetHeader(md)
}

func (a *answers) send(resp *oip.ModelStreamInferResponse) error {
	a.begun = true
	return a.stream.Send(resp)
}

// answerAll answers one request. The error is for a stream that cannot go on.
func (s *Server) answerAll(ctx context.Context, req *oip.ModelInferRequest, out *answers) error {
	ask, err := s.ask(ctx, req)
	if err != nil {
		return out.fail(req, err)
	}
	for attempt := 1; ; attempt++ {
		began, err := s.streamOnce(ctx, req, ask, out)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case began || !s.again.May(ctx, attempt, err):
			return out.fail(req, err)
		}
	}
}

// streamOnce reports whether the caller may have seen some of the answer.
func (s *Server) streamOnce(ctx context.Context, req *oip.ModelInferRequest, ask *inferencev1.InferTensorsRequest, out *answers) (began bool, _ error) {
	// Leaving early, for whatever reason, stops the work on the engine.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := s.Inference.InferTensorsStream(ctx, ask)
	if err != nil {
		return false, err
	}
	var by *inferencev1.ServedBy
	for {
		event, err := events.Recv()
		if errors.Is(err, io.EOF) {
			if began {
				return began, nil
			}
			// A request without an answer was still served by somebody.
			return began, openai.Served(ctx, out.setHeader, by)
		}
		if err != nil {
			return began, err
		}
		switch e := event.GetEvent().(type) {
		case *inferencev1.InferTensorsStreamResponse_ServedBy:
			by = e.ServedBy
		case *inferencev1.InferTensorsStreamResponse_Response:
			if !began {
				began = true
				if err := openai.Served(ctx, out.setHeader, by); err != nil {
					return began, err
				}
			}
			if err := out.send(&oip.ModelStreamInferResponse{InferResponse: answer(req, e.Response)}); err != nil {
				return began, err
			}
		}
	}
}

// fail answers a request with its error, as Triton does: with the names by
// which the client knows the request.
func (a *answers) fail(req *oip.ModelInferRequest, err error) error {
	e := apierr.From(err)
	return a.send(&oip.ModelStreamInferResponse{
		ErrorMessage:  string(e.Reason) + ": " + e.Message,
		InferResponse: &oip.ModelInferResponse{ModelName: req.GetModelName(), ModelVersion: req.GetModelVersion(), Id: req.GetId()},
	})
}
