package fakes

import (
	"google.golang.org/grpc"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// Quantize tells of progress and gives a result, or does as OnQuantize says.
func (w *Worker) Quantize(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) error {
	if w.OnQuantize != nil {
		return w.OnQuantize(req, stream)
	}
	if err := Quantizing(stream, 50); err != nil {
		return err
	}
	return stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Result{Result: Quantized(req)}})
}

// Quantizing says how far the making of weights is.
func Quantizing(stream grpc.ServerStreamingServer[workerv1.QuantizeResponse], percent int32) error {
	return stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Progress{Progress: &workerv1.QuantizeProgress{
		Phase: workerv1.QuantizePhase_QUANTIZE_PHASE_QUANTIZING, Percent: percent,
	}}})
}

// Quantized is the result of a request: the source's specification, with a file
// that is named after the type.
func Quantized(req *workerv1.QuantizeRequest) *workerv1.QuantizeResult {
	return &workerv1.QuantizeResult{
		Spec: &commonv1.ModelSpec{
			Task: req.GetSpec().GetTask(), Engine: req.GetSpec().GetEngine(), ContextLength: req.GetSpec().GetContextLength(),
			Artifacts: []*commonv1.Artifact{{Uri: "file:///" + req.GetType() + ".gguf", SizeBytes: 1 << 20, Role: "weights"}},
		},
		SizeBytes: 1 << 20, SourceSizeBytes: 4 << 20,
	}
}
