package engine

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	oip "github.com/poterne/poterne/proto/gen/inference"
)

// tensorServer is a server of the Open Inference Protocol that repeats its
// inputs, as Triton's documentation says that one behaves, or as MLServer does.
type tensorServer struct {
	oip.UnimplementedGRPCInferenceServiceServer

	plain bool // streams as MLServer
	raw   bool // answers in raw contents, as Triton always does
	fails bool // on wrong tensors, as MLServer, rather than refuse them
	loose bool // takes any tensors

	inputs []*oip.ModelMetadataResponse_TensorMetadata // declared in place of x
	silent error                                       // in place of what is declared
	hold   chan struct{}

	mu     sync.Mutex
	known  map[string]bool // models of the repository, and whether they are loaded
	asked  []*oip.ModelInferRequest
	called []string
}

// serve starts the server and returns its address.
func (s *tensorServer) serve(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	desc := oip.GRPCInferenceService_ServiceDesc
	if s.plain {
		desc.Streams = []grpc.StreamDesc{{StreamName: "ModelStreamInfer", Handler: plainStream, ServerStreams: true, ClientStreams: true}}
	}
	server.RegisterService(&desc, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return lis.Addr().String()
}

func (s *tensorServer) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.called = append(s.called, call)
}

func (s *tensorServer) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.called)
}

func (s *tensorServer) ready(model string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[model]
}

func (s *tensorServer) ServerLive(context.Context, *oip.ServerLiveRequest) (*oip.ServerLiveResponse, error) {
	return &oip.ServerLiveResponse{Live: true}, nil
}

func (s *tensorServer) ModelReady(_ context.Context, req *oip.ModelReadyRequest) (*oip.ModelReadyResponse, error) {
	return &oip.ModelReadyResponse{Ready: s.ready(req.GetName())}, nil
}

func (s *tensorServer) ModelMetadata(_ context.Context, req *oip.ModelMetadataRequest) (*oip.ModelMetadataResponse, error) {
	if !s.ready(req.GetName()) {
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", req.GetName())
	}
	s.note("metadata")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent != nil {
		return nil, s.silent
	}
	inputs := s.inputs
	if inputs == nil {
		inputs = []*oip.ModelMetadataResponse_TensorMetadata{{Name: "x", Datatype: "FP64", Shape: []int64{-1, 2}}}
	}
	return &oip.ModelMetadataResponse{Name: req.GetName(), Platform: "onnxruntime_onnx", Inputs: inputs}, nil
}

func (s *tensorServer) RepositoryModelLoad(_ context.Context, req *oip.RepositoryModelLoadRequest) (*oip.RepositoryModelLoadResponse, error) {
	s.note("load " + req.GetModelName())
	return &oip.RepositoryModelLoadResponse{}, s.change(req.GetModelName(), true)
}

func (s *tensorServer) RepositoryModelUnload(_ context.Context, req *oip.RepositoryModelUnloadRequest) (*oip.RepositoryModelUnloadResponse, error) {
	s.note("unload " + req.GetModelName())
	return &oip.RepositoryModelUnloadResponse{}, s.change(req.GetModelName(), false)
}

func (s *tensorServer) change(model string, loaded bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[model]; !ok {
		return status.Errorf(codes.InvalidArgument, "failed to load '%s', failed to poll from model repository", model)
	}
	s.known[model] = loaded
	return nil
}

// requests are what was asked for, in order.
func (s *tensorServer) requests() []*oip.ModelInferRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *tensorServer) ModelInfer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error) {
	s.mu.Lock()
	s.asked = append(s.asked, req)
	s.mu.Unlock()
	if !s.ready(req.GetModelName()) {
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", req.GetModelName())
	}
	if s.hold != nil {
		s.note("held")
		select {
		case <-s.hold:
		case <-ctx.Done():
			s.note("cancelled")
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	in := req.GetInputs()[0]
	if !s.loose && (in.GetDatatype() != "FP64" || len(in.GetShape()) != 2 || in.GetShape()[1] != 2) {
		if s.fails {
			return nil, status.Error(codes.Internal, "X has 3 features, but the model expects 2")
		}
		return nil, status.Errorf(codes.InvalidArgument, "unexpected shape for input '%s'", in.GetName())
	}
	out := &oip.ModelInferResponse{ModelName: req.GetModelName(), ModelVersion: "1", Id: req.GetId(), RawOutputContents: req.GetRawInputContents()}
	o := &oip.ModelInferResponse_InferOutputTensor{Name: "predict", Datatype: in.GetDatatype(), Shape: in.GetShape(), Contents: in.GetContents()}
	if s.raw && len(out.GetRawOutputContents()) == 0 {
		out.RawOutputContents, o.Contents = [][]byte{make([]byte, 8*in.GetShape()[0]*in.GetShape()[1])}, nil
	}
	out.Outputs = []*oip.ModelInferResponse_InferOutputTensor{o}
	return out, nil
}

// ModelStreamInfer answers each request twice, with errors inside the answers.
func (s *tensorServer) ModelStreamInfer(stream grpc.BidiStreamingServer[oip.ModelInferRequest, oip.ModelStreamInferResponse]) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the client has sent all
		}
		for range 2 {
			resp, err := s.ModelInfer(stream.Context(), req)
			out := &oip.ModelStreamInferResponse{InferResponse: resp}
			if err != nil {
				out.ErrorMessage = status.Convert(err).Message()
			}
			if err := stream.Send(out); err != nil {
				return err
			}
		}
	}
}

// plainStream is the same as MLServer has it.
func plainStream(srv any, stream grpc.ServerStream) error {
	s, ok := srv.(*tensorServer)
	if !ok {
		return errors.New("not a tensorServer")
	}
	req := new(oip.ModelInferRequest)
	if err := stream.RecvMsg(req); err != nil {
		return err
	}
	for range 2 {
		resp, err := s.ModelInfer(stream.Context(), req)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(resp); err != nil {
			return err
		}
	}
	return nil
}
