package agent

import (
	"context"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// beginTensors takes a place on a model that serves tensors.
func (a *Agent) beginTensors(ctx context.Context, req *workerv1.InferTensorsRequest) (*work, engine.TensorEngine, error) {
	w, err := a.begin(req.GetDigest(), opInfer, req.GetReplica())
	if err != nil {
		return nil, nil, err
	}
	t, err := tensorEngine(w.engine)
	if err != nil {
		return nil, nil, w.end(ctx, nil, err)
	}
	return w, t, nil
}

func tensorEngine(e engine.Engine) (engine.TensorEngine, error) {
	t, ok := e.(engine.TensorEngine)
	if !ok {
		return nil, apierr.New(apierr.InvalidArgument, "the model takes text, and no tensors").WithField("model")
	}
	return t, nil
}

// InferTensors runs a version on tensors.
func (a *Agent) InferTensors(ctx context.Context, req *workerv1.InferTensorsRequest) (resp *workerv1.InferTensorsResponse, err error) {
	w, t, err := a.beginTensors(ctx, req)
	if err != nil {
		return nil, err
	}
	defer func() { err = w.end(ctx, nil, err) }()
	answer, err := t.Infer(ctx, req.GetRequest())
	if err != nil {
		return nil, err
	}
	return &workerv1.InferTensorsResponse{Response: answer}, nil
}

// InferTensorsStream runs a version on tensors and passes its answers on as they
// come.
func (a *Agent) InferTensorsStream(req *workerv1.InferTensorsRequest, stream grpc.ServerStreamingServer[workerv1.InferTensorsStreamResponse]) (err error) {
	ctx := stream.Context()
	w, t, err := a.beginTensors(ctx, req)
	if err != nil {
		return err
	}
	defer func() { err = w.end(ctx, nil, err) }()
	first := true
	return t.InferStream(ctx, req.GetRequest(), func(answer *oip.ModelInferResponse) error {
		if first {
			first = false
			w.model.series.firstChunk(ctx, a.parts.Clock.Now().Sub(w.begun))
		}
		return stream.Send(&workerv1.InferTensorsStreamResponse{Response: answer})
	})
}

// GetTensorModel asks the engine what its model takes. It takes no place on the
// model: nothing is computed.
func (a *Agent) GetTensorModel(ctx context.Context, req *workerv1.GetTensorModelRequest) (*workerv1.GetTensorModelResponse, error) {
	_, life, err := a.lookup(req.GetDigest())
	if err != nil {
		return nil, err
	}
	t, err := tensorEngine(life.engine)
	if err != nil {
		return nil, err
	}
	metadata, err := t.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	return &workerv1.GetTensorModelResponse{Metadata: metadata}, nil
}
