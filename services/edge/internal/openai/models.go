package openai

import (
	"context"
	"fmt"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// ownedBy is who runs every model that this gateway knows.
const ownedBy = "poterne"

// ListModels lists the models that can be asked.
func (s *Server) ListModels(ctx context.Context, req *edgev1.ListModelsRequest) (*edgev1.ListModelsResponse, error) {
	resp, err := s.Inference.ListServedModels(ctx, &inferencev1.ListServedModelsRequest{
		PageSize: req.GetPageSize(), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	out := &edgev1.ListModelsResponse{Object: "list", Data: make([]*edgev1.ModelCard, 0, len(resp.GetModels()))}
	for _, m := range resp.GetModels() {
		out.Data = append(out.Data, card(m.GetName(), m))
	}
	if t := resp.GetNextPageToken(); t != "" {
		out.NextPageToken = &t
	}
	return out, nil
}

// GetModel returns a model under the reference that was asked for.
func (s *Server) GetModel(ctx context.Context, req *edgev1.GetModelRequest) (*edgev1.GetModelResponse, error) {
	resp, err := s.Inference.GetServedModel(ctx, &inferencev1.GetServedModelRequest{Model: req.GetModel()})
	if err != nil {
		return nil, err
	}
	return &edgev1.GetModelResponse{Model: card(req.GetModel(), resp.GetModel())}, nil
}

func card(id string, m *inferencev1.ServedModel) *edgev1.ModelCard {
	c := &edgev1.ModelCard{
		Id: id, Object: "model", Created: m.GetCreateTime().GetSeconds(), OwnedBy: ownedBy,
		Task: taskName(m.GetTask()), State: stateName(m.GetState()), Aliases: m.GetAliases(),
		PlacementProblem: m.GetPlacementProblem(), Variants: m.GetVariants(),
		Replicas: &edgev1.Replicas{
			Ready: m.GetReadyWorkers(), Desired: m.GetDesiredReplicas(), Min: m.GetMinReplicas(), Max: m.GetMaxReplicas(),
		},
	}
	if v := m.GetDefaultVersion(); v > 0 {
		c.Version = fmt.Sprintf("%s@v%d", m.GetName(), v)
	}
	if n := m.GetContextLength(); n > 0 {
		c.ContextLength = &n
	}
	if n := m.GetEmbeddingDimensions(); n > 0 {
		c.EmbeddingDimensions = &n
	}
	return c
}

func taskName(t commonv1.Task) string {
	switch t {
	case commonv1.Task_TASK_CHAT:
		return "chat"
	case commonv1.Task_TASK_EMBEDDING:
		return "embedding"
	case commonv1.Task_TASK_TENSOR:
		return "tensor"
	case commonv1.Task_TASK_RERANK:
		return "rerank"
	case commonv1.Task_TASK_UNSPECIFIED:
		return ""
	default:
		return ""
	}
}

func stateName(s inferencev1.ServingState) string {
	switch s {
	case inferencev1.ServingState_SERVING_STATE_READY:
		return "ready"
	case inferencev1.ServingState_SERVING_STATE_LOADING:
		return "loading"
	case inferencev1.ServingState_SERVING_STATE_UNAVAILABLE, inferencev1.ServingState_SERVING_STATE_UNSPECIFIED:
		return "unavailable"
	default:
		return "unavailable"
	}
}
