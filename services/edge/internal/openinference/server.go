// Package openinference answers the Open Inference Protocol from the inference
// service: what KServe's and Triton's clients ask, over gRPC and, by way of
// package gateway, over REST. It decides nothing about who may ask and nothing
// about where models run. Start reading at Server.
package openinference

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	oip "github.com/poterne/poterne/proto/gen/inference"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/again"
	"github.com/poterne/poterne/services/edge/internal/openai"
	"github.com/poterne/poterne/services/edge/internal/tensor"
)

// Inference is what this package needs of the inference service.
type Inference interface {
	InferTensors(ctx context.Context, in *inferencev1.InferTensorsRequest, opts ...grpc.CallOption) (*inferencev1.InferTensorsResponse, error)
	InferTensorsStream(ctx context.Context, in *inferencev1.InferTensorsRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InferTensorsStreamResponse], error)
	GetTensorModel(ctx context.Context, in *inferencev1.GetTensorModelRequest, opts ...grpc.CallOption) (*inferencev1.GetTensorModelResponse, error)
	ListServedModels(ctx context.Context, in *inferencev1.ListServedModelsRequest, opts ...grpc.CallOption) (*inferencev1.ListServedModelsResponse, error)
	GetServedModel(ctx context.Context, in *inferencev1.GetServedModelRequest, opts ...grpc.CallOption) (*inferencev1.GetServedModelResponse, error)
}

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	// Hints says who may ask for what, as on OpenAI's paths.
	Hints     openai.Config
	Inference Inference
	Limits    tensor.Limits
	// Ready reports whether requests would be served.
	Ready func() bool
	// Version is the gateway's.
	Version string
	Clock   clock.Clock
	Log     *slog.Logger
}

// Server is inference.GRPCInferenceService. It is safe for concurrent use.
type Server struct {
	oip.UnimplementedGRPCInferenceServiceServer
	Deps
	again again.Policy
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d, again: again.Policy{Clock: d.Clock, Log: d.Log}} }

// serverName is how the gateway calls itself.
const serverName = "poterne"

// ServerLive says yes: the question arrived.
func (s *Server) ServerLive(context.Context, *oip.ServerLiveRequest) (*oip.ServerLiveResponse, error) {
	return &oip.ServerLiveResponse{Live: true}, nil
}

// ServerReady says whether requests would be served.
func (s *Server) ServerReady(context.Context, *oip.ServerReadyRequest) (*oip.ServerReadyResponse, error) {
	return &oip.ServerReadyResponse{Ready: s.Ready()}, nil
}

// ServerMetadata says what the gateway is.
func (s *Server) ServerMetadata(context.Context, *oip.ServerMetadataRequest) (*oip.ServerMetadataResponse, error) {
	return &oip.ServerMetadataResponse{Name: serverName, Version: s.Version, Extensions: []string{"binary_tensor_data"}}, nil
}

// ModelReady says whether a worker has the model ready, of whatever kind it is.
func (s *Server) ModelReady(ctx context.Context, req *oip.ModelReadyRequest) (*oip.ModelReadyResponse, error) {
	ref, err := reference("name", req.GetName(), "version", req.GetVersion())
	if err != nil {
		return nil, err
	}
	resp, err := s.Inference.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: ref})
	if err != nil {
		return nil, err
	}
	return &oip.ModelReadyResponse{Ready: resp.GetModel().GetState() == inferencev1.ServingState_SERVING_STATE_READY}, nil
}

// ModelMetadata says what tensors a model takes and gives.
func (s *Server) ModelMetadata(ctx context.Context, req *oip.ModelMetadataRequest) (*oip.ModelMetadataResponse, error) {
	ref, err := reference("name", req.GetName(), "version", req.GetVersion())
	if err != nil {
		return nil, err
	}
	resp, err := s.Inference.GetTensorModel(ctx, &inferencev1.GetTensorModelRequest{Model: ref, RoutingKey: subject(ctx), ExperimentHeaders: s.Hints.ExperimentHeadersOf(ctx)})
	if err != nil {
		return nil, err
	}
	if err := openai.Served(ctx, unaryHeader(ctx), resp.GetServedBy()); err != nil {
		return nil, err
	}
	return resp.GetMetadata(), nil
}

// ModelInfer runs a model on tensors.
func (s *Server) ModelInfer(ctx context.Context, req *oip.ModelInferRequest) (*oip.ModelInferResponse, error) {
	ask, err := s.ask(ctx, req)
	if err != nil {
		return nil, err
	}
	var resp *inferencev1.InferTensorsResponse
	for attempt := 1; ; attempt++ {
		if resp, err = s.Inference.InferTensors(ctx, ask); err == nil {
			break
		}
		if !s.again.May(ctx, attempt, err) {
			return nil, err
		}
	}
	if err := openai.Served(ctx, unaryHeader(ctx), resp.GetServedBy()); err != nil {
		return nil, err
	}
	return answer(req, resp.GetResponse()), nil
}

// ask is a request for the inference service, once its tensors are what they
// say they are.
func (s *Server) ask(ctx context.Context, req *oip.ModelInferRequest) (*inferencev1.InferTensorsRequest, error) {
	ref, err := reference("model_name", req.GetModelName(), "model_version", req.GetModelVersion())
	if err != nil {
		return nil, err
	}
	if err := s.Limits.Check(req); err != nil {
		return nil, err
	}
	h, err := s.Hints.Hints(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &inferencev1.InferTensorsRequest{
		Model: ref, Request: req, RoutingKey: subject(ctx), Priority: h.Priority, SessionId: h.Session, WaitForReady: h.Wait, ExperimentHeaders: h.Headers,
	}, nil
}

// answer repeats the request's id, which not every engine does.
func answer(req *oip.ModelInferRequest, resp *oip.ModelInferResponse) *oip.ModelInferResponse {
	resp.Id = req.GetId()
	return resp
}

// subject is what a traffic split sticks to.
func subject(ctx context.Context) string {
	c, _ := identity.FromContext(ctx)
	return c.Subject
}

func unaryHeader(ctx context.Context) func(metadata.MD) error {
	return func(md metadata.MD) error { return grpc.SetHeader(ctx, md) }
}

// The states of a model as the repository extension has them.
const (
	stateReady       = "READY"
	stateLoading     = "LOADING"
	stateUnavailable = "UNAVAILABLE"
)

// RepositoryIndex lists the models, of whatever kind they are.
func (s *Server) RepositoryIndex(ctx context.Context, req *oip.RepositoryIndexRequest) (*oip.RepositoryIndexResponse, error) {
	if req.GetRepositoryName() != "" {
		return nil, apierr.Invalid("repository_name", "repository_name: there is one repository, without a name")
	}
	out := new(oip.RepositoryIndexResponse)
	for token := ""; ; {
		page, err := s.Inference.ListServedModels(ctx, &inferencev1.ListServedModelsRequest{PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, m := range page.GetModels() {
			if entry := indexed(m); !req.GetReady() || entry.GetState() == stateReady {
				out.Models = append(out.Models, entry)
			}
		}
		if token = page.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

func indexed(m *inferencev1.ServedModel) *oip.RepositoryIndexResponse_ModelIndex {
	out := &oip.RepositoryIndexResponse_ModelIndex{Name: m.GetName(), Version: number(m.GetDefaultVersion())}
	switch m.GetState() {
	case inferencev1.ServingState_SERVING_STATE_READY:
		out.State = stateReady
	case inferencev1.ServingState_SERVING_STATE_LOADING:
		out.State = stateLoading
	default:
		out.State, out.Reason = stateUnavailable, "no worker has it"
	}
	return out
}
