package fakes

import (
	"context"

	"google.golang.org/grpc"

	oip "github.com/poterne/poterne/proto/gen/inference"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// InferTensors answers with the request's id, or with the last answer that
// OnInfer gives.
func (w *Worker) InferTensors(_ context.Context, req *workerv1.InferTensorsRequest) (*workerv1.InferTensorsResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	resp := &oip.ModelInferResponse{ModelName: "its own name", ModelVersion: "1", Id: req.GetRequest().GetId()}
	if w.OnInfer == nil {
		return &workerv1.InferTensorsResponse{Response: resp}, nil
	}
	err := w.OnInfer(req, func(r *oip.ModelInferResponse) error {
		resp = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &workerv1.InferTensorsResponse{Response: resp}, nil
}

// InferTensorsStream gives what OnInfer gives.
func (w *Worker) InferTensorsStream(req *workerv1.InferTensorsRequest, stream grpc.ServerStreamingServer[workerv1.InferTensorsStreamResponse]) error {
	if err := w.ready(req.GetDigest()); err != nil {
		return err
	}
	if w.OnInfer == nil {
		return nil
	}
	return w.OnInfer(req, func(r *oip.ModelInferResponse) error {
		return stream.Send(&workerv1.InferTensorsStreamResponse{Response: r})
	})
}

// GetTensorModel names one input.
func (w *Worker) GetTensorModel(_ context.Context, req *workerv1.GetTensorModelRequest) (*workerv1.GetTensorModelResponse, error) {
	if err := w.ready(req.GetDigest()); err != nil {
		return nil, err
	}
	return &workerv1.GetTensorModelResponse{Metadata: &oip.ModelMetadataResponse{
		Name: "its own name", Platform: Engine, Inputs: []*oip.ModelMetadataResponse_TensorMetadata{{Name: "x", Datatype: "FP32", Shape: []int64{-1, 4}}},
	}}, nil
}
