package api

import (
	"context"
	"errors"
	"io"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	oip "github.com/poterne/poterne/proto/gen/inference"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// named gives an engine's answer the model's name and version as the registry
// has them: engines know them by names of their own.
func (j job) named(resp *oip.ModelInferResponse) *oip.ModelInferResponse {
	if resp == nil {
		resp = new(oip.ModelInferResponse)
	}
	resp.ModelName, resp.ModelVersion = j.target.Version.Model, strconv.Itoa(int(j.target.Version.Number))
	return resp
}

// InferTensors runs a model on tensors.
func (s *Server) InferTensors(ctx context.Context, req *inferencev1.InferTensorsRequest) (resp *inferencev1.InferTensorsResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, req, operationTensors)
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_TENSOR); err != nil {
		return nil, err
	}
	j.query.Bytes = proto.Size(req.GetRequest())
	ask := &workerv1.InferTensorsRequest{Digest: j.query.Digest, Request: req.GetRequest(), Replica: s.opts.Replica}
	j.query.Print = s.printMessage(j.query.Tenant, ask)
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().InferTensors(ctx, ask)
		if err != nil {
			return false, err
		}
		resp = &inferencev1.InferTensorsResponse{ServedBy: j.servedBy(run), Response: j.named(answer.GetResponse())}
		return true, nil
	})
	return resp, err
}

// InferTensorsStream runs a model on tensors and streams its answers.
// `served_by` leaves together with the first of them, as in InvokeStream.
func (s *Server) InferTensorsStream(req *inferencev1.InferTensorsRequest, stream grpc.ServerStreamingServer[inferencev1.InferTensorsStreamResponse]) (err error) {
	ctx, cancel := s.bounded(stream.Context())
	defer cancel()
	j, err := s.begin(ctx, req, operationTensors)
	if err != nil {
		return err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_TENSOR); err != nil {
		return err
	}
	j.query.Bytes = proto.Size(req.GetRequest())
	ask := &workerv1.InferTensorsRequest{Digest: j.query.Digest, Request: req.GetRequest(), Replica: s.opts.Replica}
	j.query.Print = s.printMessage(j.query.Tenant, ask)
	return s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		// Ends the worker's stream on every way out of the attempt.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		from, err := run.Copy().Worker().Client().InferTensorsStream(ctx, ask)
		if err != nil {
			return false, err
		}
		r := tensorRelay{job: j, by: j.servedBy(run), to: stream}
		err = r.run(from)
		return r.begun, err
	})
}

// tensorRelay passes one worker's answers on.
type tensorRelay struct {
	job   job
	by    *inferencev1.ServedBy
	to    grpc.ServerStreamingServer[inferencev1.InferTensorsStreamResponse]
	begun bool // something was passed on
}

func (r *tensorRelay) run(from grpc.ServerStreamingClient[workerv1.InferTensorsStreamResponse]) error {
	for {
		msg, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return r.open() // a request without an answer was still served by somebody
		}
		if err != nil {
			return err
		}
		if err := r.open(); err != nil {
			return err
		}
		if err := r.send(&inferencev1.InferTensorsStreamResponse{Event: &inferencev1.InferTensorsStreamResponse_Response{
			Response: r.job.named(msg.GetResponse()),
		}}); err != nil {
			return err
		}
	}
}

// open sends `served_by` before the first answer.
func (r *tensorRelay) open() error {
	if r.begun {
		return nil
	}
	r.begun = true
	return r.send(&inferencev1.InferTensorsStreamResponse{Event: &inferencev1.InferTensorsStreamResponse_ServedBy{ServedBy: r.by}})
}

// send keeps a caller who is gone from being taken for a worker that failed.
func (r *tensorRelay) send(msg *inferencev1.InferTensorsStreamResponse) error {
	if err := r.to.Send(msg); err != nil {
		return &routing.CallerGoneError{Err: err}
	}
	return nil
}

// GetTensorModel says what tensors a model takes.
func (s *Server) GetTensorModel(ctx context.Context, req *inferencev1.GetTensorModelRequest) (resp *inferencev1.GetTensorModelResponse, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	j, err := s.begin(ctx, unhurried{named: req}, operationTensorModel)
	if err != nil {
		return nil, err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_TENSOR); err != nil {
		return nil, err
	}
	j.query.Light = true
	ask := &workerv1.GetTensorModelRequest{Digest: j.query.Digest}
	err = s.route(ctx, &j, func(ctx context.Context, run *routing.Run) (bool, error) {
		restore := on(&ask.Digest, run)
		defer restore()
		answer, err := run.Copy().Worker().Client().GetTensorModel(ctx, ask)
		if err != nil {
			return false, err
		}
		metadata := answer.GetMetadata()
		if metadata == nil {
			metadata = new(oip.ModelMetadataResponse)
		}
		metadata.Name, metadata.Versions = j.target.Version.Model, s.versions(j.target.Version.Model)
		resp = &inferencev1.GetTensorModelResponse{ServedBy: j.servedBy(run), Metadata: metadata}
		return true, nil
	})
	return resp, err
}

// maxVersions bounds the versions that metadata lists: the latest ones.
const maxVersions = 100

// versions are the numbers of a model's versions, as the protocol has them.
func (s *Server) versions(name string) []string {
	m, ok := s.opts.Catalog.Snapshot().Model(name)
	if !ok {
		return nil
	}
	all := m.Versions
	all = all[max(len(all)-maxVersions, 0):]
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = strconv.Itoa(int(v.Number))
	}
	return out
}
