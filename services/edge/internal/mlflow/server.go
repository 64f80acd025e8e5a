package mlflow

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// anyEtag overwrites whatever is there, as MLflow's calls do.
const anyEtag = "*"

// Server serves poterne.edge.v1.MlflowService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedMlflowServiceServer

	registry registryv1.RegistryServiceClient
}

// New returns a server that asks the registry, whose errors it passes on.
func New(registry registryv1.RegistryServiceClient) *Server { return &Server{registry: registry} }

// CreateRegisteredModel implements edgev1.MlflowServiceServer.
func (s *Server) CreateRegisteredModel(ctx context.Context, req *edgev1.CreateRegisteredModelRequest) (*edgev1.CreateRegisteredModelResponse, error) {
	labels, err := labelsOf(req.GetTags())
	if err != nil {
		return nil, err
	}
	resp, err := s.registry.CreateModel(ctx, &registryv1.CreateModelRequest{Name: req.GetName(), Card: req.GetDescription(), Labels: labels})
	if err != nil {
		return nil, err
	}
	return &edgev1.CreateRegisteredModelResponse{RegisteredModel: modelOf(resp.GetModel(), nil)}, nil
}

// GetRegisteredModel implements edgev1.MlflowServiceServer.
func (s *Server) GetRegisteredModel(ctx context.Context, req *edgev1.GetRegisteredModelRequest) (*edgev1.GetRegisteredModelResponse, error) {
	m, err := s.model(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return &edgev1.GetRegisteredModelResponse{RegisteredModel: m}, nil
}

// model returns a model with its newest version and aliases.
func (s *Server) model(ctx context.Context, name string) (*edgev1.MlflowRegisteredModel, error) {
	resp, err := s.registry.GetModel(ctx, &registryv1.GetModelRequest{Model: name})
	if err != nil {
		return nil, err
	}
	aliases, err := s.aliases(ctx, name)
	if err != nil {
		return nil, err
	}
	out := modelOf(resp.GetModel(), aliases)
	out.LatestVersions, err = s.latest(ctx, name, nil)
	return out, err
}

// aliases returns all of a model's.
func (s *Server) aliases(ctx context.Context, model string) ([]*registryv1.Alias, error) {
	resp, err := s.registry.ListAliases(ctx, &registryv1.ListAliasesRequest{Model: model, PageSize: 1000})
	return resp.GetAliases(), err
}

// UpdateRegisteredModel implements edgev1.MlflowServiceServer.
func (s *Server) UpdateRegisteredModel(ctx context.Context, req *edgev1.UpdateRegisteredModelRequest) (*edgev1.UpdateRegisteredModelResponse, error) {
	if _, err := s.registry.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: req.GetName(), Card: &req.Description}); err != nil {
		return nil, err
	}
	m, err := s.model(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return &edgev1.UpdateRegisteredModelResponse{RegisteredModel: m}, nil
}

// DeleteRegisteredModel implements edgev1.MlflowServiceServer.
func (s *Server) DeleteRegisteredModel(ctx context.Context, req *edgev1.DeleteRegisteredModelRequest) (*edgev1.DeleteRegisteredModelResponse, error) {
	if _, err := s.registry.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: req.GetName()}); err != nil {
		return nil, err
	}
	return &edgev1.DeleteRegisteredModelResponse{}, nil
}

// SetRegisteredModelTag implements edgev1.MlflowServiceServer.
func (s *Server) SetRegisteredModelTag(ctx context.Context, req *edgev1.SetRegisteredModelTagRequest) (*edgev1.SetRegisteredModelTagResponse, error) {
	labels, err := labelsOf([]*edgev1.MlflowTag{{Key: req.GetKey(), Value: req.GetValue()}})
	if err != nil {
		return nil, err
	}
	if _, err := s.registry.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: req.GetName(), Labels: labels}); err != nil {
		return nil, err
	}
	return &edgev1.SetRegisteredModelTagResponse{}, nil
}

// DeleteRegisteredModelTag implements edgev1.MlflowServiceServer.
func (s *Server) DeleteRegisteredModelTag(ctx context.Context, req *edgev1.DeleteRegisteredModelTagRequest) (*edgev1.DeleteRegisteredModelTagResponse, error) {
	_, err := s.registry.UpdateModel(ctx, &registryv1.UpdateModelRequest{Model: req.GetName(), RemoveLabels: []string{req.GetKey()}})
	if err != nil {
		return nil, err
	}
	return &edgev1.DeleteRegisteredModelTagResponse{}, nil
}

// SetRegisteredModelAlias implements edgev1.MlflowServiceServer.
func (s *Server) SetRegisteredModelAlias(ctx context.Context, req *edgev1.SetRegisteredModelAliasRequest) (*edgev1.SetRegisteredModelAliasResponse, error) {
	number, err := numberOf(req.GetVersion())
	if err != nil {
		return nil, err
	}
	if err := s.setAlias(ctx, req.GetName(), req.GetAlias(), number); err != nil {
		return nil, err
	}
	return &edgev1.SetRegisteredModelAliasResponse{}, nil
}

// DeleteRegisteredModelAlias implements edgev1.MlflowServiceServer.
func (s *Server) DeleteRegisteredModelAlias(ctx context.Context, req *edgev1.DeleteRegisteredModelAliasRequest) (*edgev1.DeleteRegisteredModelAliasResponse, error) {
	if err := s.deleteAlias(ctx, req.GetName(), req.GetAlias()); err != nil {
		return nil, err
	}
	return &edgev1.DeleteRegisteredModelAliasResponse{}, nil
}

func modelOf(m *registryv1.Model, aliases []*registryv1.Alias) *edgev1.MlflowRegisteredModel {
	out := &edgev1.MlflowRegisteredModel{
		Name: m.GetName(), Description: m.GetCard(), Tags: tagsOf(m.GetLabels()),
		CreationTimestamp: millis(m.GetCreateTime()), LastUpdatedTimestamp: millis(m.GetUpdateTime()),
	}
	for _, a := range aliases {
		out.Aliases = append(out.Aliases, &edgev1.MlflowAlias{Alias: a.GetName(), Version: strconv.Itoa(int(a.GetVersion()))})
	}
	return out
}

func millis(t *timestamppb.Timestamp) int64 { return t.AsTime().UnixMilli() }

func tagsOf(labels map[string]string) []*edgev1.MlflowTag {
	var out []*edgev1.MlflowTag
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if key != labelSource && key != labelRunLink {
			out = append(out, &edgev1.MlflowTag{Key: key, Value: labels[key]})
		}
	}
	return out
}

// labelsOf refuses a tag that cannot be a label: kept otherwise, it would be lost
// or be something that no filter finds.
func labelsOf(tags []*edgev1.MlflowTag) (map[string]string, error) {
	labels := make(map[string]string, len(tags))
	for _, t := range tags {
		if !labelName.MatchString(t.GetKey()) {
			return nil, apierr.Invalid("key", "the tag %q cannot be kept: a key here has lower-case letters, digits and . _ / -, at most 63", t.GetKey())
		}
		if len([]rune(t.GetValue())) > maxLabelValue {
			return nil, apierr.Invalid("value", "the tag %q cannot be kept: a value here has at most %d characters", t.GetKey(), maxLabelValue)
		}
		labels[t.GetKey()] = t.GetValue()
	}
	return labels, nil
}

func numberOf(version string) (int32, error) {
	n, err := strconv.ParseInt(version, 10, 32)
	if err != nil || n < 1 {
		return 0, apierr.Invalid("version", "the version must be a number from 1, not %q", version)
	}
	return int32(n), nil
}
