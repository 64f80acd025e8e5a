// Package feedback takes users' verdicts on the answers that they got. Whose answer
// it was, and what made it, is in the answer's id; the registry keeps the verdict.
// Begin with Server.
package feedback

import (
	"context"
	"math"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/responseid"
)

// Registry is where verdicts are kept.
type Registry interface {
	RecordFeedback(ctx context.Context, in *registryv1.RecordFeedbackRequest, opts ...grpc.CallOption) (*registryv1.RecordFeedbackResponse, error)
}

// Server is edge.v1.FeedbackService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedFeedbackServiceServer

	registry Registry
	ids      *responseid.Signer
}

// New returns a server.
func New(registry Registry, ids *responseid.Signer) *Server {
	return &Server{registry: registry, ids: ids}
}

// CreateFeedback implements edgev1.FeedbackServiceServer.
func (s *Server) CreateFeedback(ctx context.Context, req *edgev1.CreateFeedbackRequest) (*edgev1.CreateFeedbackResponse, error) {
	score, err := scoreOf(req)
	if err != nil {
		return nil, err
	}
	caller, _ := identity.FromContext(ctx)
	answer, err := s.ids.Read(req.GetResponseId(), caller)
	if err != nil {
		// Nothing tells a response of others from one that never was.
		return nil, apierr.New(apierr.NotFound, "no answer of yours has this id").WithField("response_id")
	}
	resp, err := s.registry.RecordFeedback(ctx, &registryv1.RecordFeedbackRequest{
		ResponseId: answer.Key, Model: answer.Model, Experiment: answer.Experiment, Arm: answer.Arm, Version: answer.Version,
		Score: score, Comment: req.GetComment(), ResponseTime: timestamppb.New(answer.Made),
	})
	if err != nil {
		return nil, err
	}
	return &edgev1.CreateFeedbackResponse{ResponseId: req.GetResponseId(), Score: score, Replaced: resp.GetReplaced()}, nil
}

// scoreOf is the score that a request says in one of two ways.
func scoreOf(req *edgev1.CreateFeedbackRequest) (float64, error) {
	switch {
	case (req.Score != nil) == (req.GetVerdict() != ""):
		return 0, apierr.Invalid("score", "give either a score or a verdict")
	case req.GetVerdict() == "up":
		return 1, nil
	case req.GetVerdict() == "down":
		return -1, nil
	case math.IsNaN(req.GetScore()):
		return 0, apierr.Invalid("score", "must be from -1 to 1")
	default:
		return req.GetScore(), nil
	}
}
