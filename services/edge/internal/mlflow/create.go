package mlflow

import (
	"context"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The tags that say what a source of one file is, for sources that the registry
// does not read. They are not kept: the specification has it all.
const (
	tagPrefix    = "poterne."
	tagSHA256    = tagPrefix + "sha256"
	tagSize      = tagPrefix + "size-bytes"
	tagEngine    = tagPrefix + "engine"
	tagTask      = tagPrefix + "task"
	tagParameter = tagPrefix + "parameter."
)

// CreateModelVersion implements edgev1.MlflowServiceServer.
func (s *Server) CreateModelVersion(ctx context.Context, req *edgev1.CreateModelVersionRequest) (*edgev1.CreateModelVersionResponse, error) {
	var kept []*edgev1.MlflowTag
	said := map[string]string{}
	for _, t := range req.GetTags() {
		if strings.HasPrefix(t.GetKey(), tagPrefix) {
			said[t.GetKey()] = t.GetValue()
			continue
		}
		kept = append(kept, t)
	}
	labels, err := labelsOf(kept)
	if err != nil {
		return nil, err
	}
	spec, err := s.specOf(ctx, req.GetSource(), said)
	if err != nil {
		return nil, err
	}
	for label, value := range map[string]string{labelSource: req.GetSource(), labelRunLink: req.GetRunLink()} {
		if value != "" && len([]rune(value)) <= maxLabelValue {
			labels[label] = value
		}
	}
	create := &registryv1.CreateVersionRequest{Model: req.GetName(), Spec: spec, Description: req.GetDescription(), Labels: labels}
	if run := req.GetRunId(); run != "" {
		create.Lineage = &registryv1.Lineage{TrainingRunUri: "runs:/" + run}
	}
	resp, err := s.registry.CreateVersion(ctx, create)
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, req.GetName(), strconv.Itoa(int(resp.GetVersion().GetNumber())))
	if err != nil {
		return nil, err
	}
	return &edgev1.CreateModelVersionResponse{ModelVersion: v}, nil
}

// specOf says what lies at a source: by what the tags say, by the version of this
// registry that it names, or by having the registry read it.
func (s *Server) specOf(ctx context.Context, source string, said map[string]string) (*commonv1.ModelSpec, error) {
	if said[tagSHA256] != "" {
		return specOfTags(source, said)
	}
	if reference, ok := strings.CutPrefix(source, "models:/"); ok {
		return s.specOfModel(ctx, reference)
	}
	resp, err := s.registry.InspectSource(ctx, &registryv1.InspectSourceRequest{Uri: source})
	if err != nil {
		return nil, err
	}
	return resp.GetSpec(), nil
}

func specOfTags(source string, said map[string]string) (*commonv1.ModelSpec, error) {
	a := &commonv1.Artifact{Uri: source, Sha256: said[tagSHA256], Role: "weights"}
	spec := &commonv1.ModelSpec{Engine: said[tagEngine], Artifacts: []*commonv1.Artifact{a}, Parameters: map[string]string{}}
	spec.Task = commonv1.Task(commonv1.Task_value["TASK_"+strings.ToUpper(said[tagTask])])
	if spec.GetTask() == commonv1.Task_TASK_UNSPECIFIED || spec.GetEngine() == "" {
		return nil, apierr.Invalid("tags", "beside %s there must be the tags %s (mlserver, llama-server …) and %s (tensor, chat, embedding or rerank)",
			tagSHA256, tagEngine, tagTask)
	}
	if size := said[tagSize]; size != "" {
		var err error
		if a.SizeBytes, err = strconv.ParseInt(size, 10, 64); err != nil {
			return nil, apierr.Invalid("tags", "the tag %s must be a number of bytes", tagSize)
		}
	}
	for key, value := range said {
		if name, ok := strings.CutPrefix(key, tagParameter); ok {
			spec.Parameters[name] = value
		}
	}
	return spec, nil
}

// specOfModel is the specification of NAME/VERSION or NAME@ALIAS.
func (s *Server) specOfModel(ctx context.Context, reference string) (*commonv1.ModelSpec, error) {
	name, version, numbered := strings.Cut(reference, "/")
	if !numbered {
		var alias string
		name, alias, numbered = strings.Cut(reference, "@")
		if !numbered {
			return nil, apierr.Invalid("source", "models:/ must be followed by NAME/VERSION or NAME@ALIAS of this registry: "+
				"an MLflow model's id says nothing here, give where its files lie")
		}
		resp, err := s.registry.GetAlias(ctx, &registryv1.GetAliasRequest{Model: name, Alias: alias})
		if err != nil {
			return nil, err
		}
		version = strconv.Itoa(int(resp.GetAlias().GetVersion()))
	}
	resp, err := s.registry.GetVersion(ctx, &registryv1.GetVersionRequest{Model: name, Version: version})
	if err != nil {
		return nil, err
	}
	return resp.GetVersion().GetSpec(), nil
}
