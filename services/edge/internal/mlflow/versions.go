package mlflow

import (
	"context"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The labels that keep what MLflow says of a version and a version here has no
// field for. They are not shown as tags.
const (
	labelSource   = "mlflow.source"
	labelRunLink  = "mlflow.run-link"
	maxLabelValue = 256
)

var labelName = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]{0,62}$`)

// The stages, and the aliases that stand for them.
const (
	stageNone       = "None"
	stageProduction = "Production"
	stageStaging    = "Staging"
)

func aliasOfStage(stage string) string {
	switch strings.ToLower(stage) {
	case "production", "staging":
		return strings.ToLower(stage)
	default:
		return ""
	}
}

// version returns a version as MLflow shows it.
func (s *Server) version(ctx context.Context, name, version string) (*edgev1.MlflowModelVersion, error) {
	resp, err := s.registry.GetVersion(ctx, &registryv1.GetVersionRequest{Model: name, Version: version})
	if err != nil {
		return nil, err
	}
	aliases, err := s.aliases(ctx, name)
	if err != nil {
		return nil, err
	}
	return versionOf(resp.GetVersion(), aliases), nil
}

func versionOf(v *registryv1.Version, aliases []*registryv1.Alias) *edgev1.MlflowModelVersion {
	labels := v.GetLabels()
	out := &edgev1.MlflowModelVersion{
		Name: v.GetModel(), Version: strconv.Itoa(int(v.GetNumber())), Description: v.GetDescription(), Status: "READY",
		CreationTimestamp: millis(v.GetCreateTime()), LastUpdatedTimestamp: millis(v.GetCreateTime()),
		CurrentStage: stageNone, Source: labels[labelSource], RunLink: labels[labelRunLink], Tags: tagsOf(labels),
		RunId: runOf(v.GetLineage().GetTrainingRunUri()),
	}
	if artifacts := v.GetSpec().GetArtifacts(); out.GetSource() == "" && len(artifacts) > 0 {
		out.Source = artifacts[0].GetUri()
	}
	for _, a := range aliases {
		if a.GetVersion() != v.GetNumber() {
			continue
		}
		out.Aliases = append(out.Aliases, a.GetName())
		switch {
		case a.GetName() == "production":
			out.CurrentStage = stageProduction
		case a.GetName() == "staging" && out.GetCurrentStage() == stageNone:
			out.CurrentStage = stageStaging
		}
	}
	return out
}

// runOf is the run that a URI of a training run names, when it is MLflow's.
func runOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	if u.Scheme == "runs" {
		return strings.Trim(u.Path, "/")
	}
	return u.Query().Get("run_id")
}

// GetModelVersion implements edgev1.MlflowServiceServer.
func (s *Server) GetModelVersion(ctx context.Context, req *edgev1.GetModelVersionRequest) (*edgev1.GetModelVersionResponse, error) {
	v, err := s.version(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &edgev1.GetModelVersionResponse{ModelVersion: v}, nil
}

// GetModelVersionByAlias implements edgev1.MlflowServiceServer.
func (s *Server) GetModelVersionByAlias(ctx context.Context, req *edgev1.GetModelVersionByAliasRequest) (*edgev1.GetModelVersionByAliasResponse, error) {
	a, err := s.registry.GetAlias(ctx, &registryv1.GetAliasRequest{Model: req.GetName(), Alias: req.GetAlias()})
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, req.GetName(), strconv.Itoa(int(a.GetAlias().GetVersion())))
	if err != nil {
		return nil, err
	}
	return &edgev1.GetModelVersionByAliasResponse{ModelVersion: v}, nil
}

// GetModelVersionDownloadUri implements edgev1.MlflowServiceServer.
func (s *Server) GetModelVersionDownloadUri(ctx context.Context, req *edgev1.GetModelVersionDownloadUriRequest) (*edgev1.GetModelVersionDownloadUriResponse, error) {
	v, err := s.version(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &edgev1.GetModelVersionDownloadUriResponse{ArtifactUri: v.GetSource()}, nil
}

// UpdateModelVersion implements edgev1.MlflowServiceServer.
func (s *Server) UpdateModelVersion(ctx context.Context, req *edgev1.UpdateModelVersionRequest) (*edgev1.UpdateModelVersionResponse, error) {
	_, err := s.registry.UpdateVersion(ctx, &registryv1.UpdateVersionRequest{
		Model: req.GetName(), Version: req.GetVersion(), Description: &req.Description,
	})
	if err != nil {
		return nil, err
	}
	v, err := s.version(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &edgev1.UpdateModelVersionResponse{ModelVersion: v}, nil
}

// DeleteModelVersion implements edgev1.MlflowServiceServer.
func (s *Server) DeleteModelVersion(ctx context.Context, req *edgev1.DeleteModelVersionRequest) (*edgev1.DeleteModelVersionResponse, error) {
	_, err := s.registry.DeleteVersion(ctx, &registryv1.DeleteVersionRequest{Model: req.GetName(), Version: req.GetVersion()})
	if err != nil {
		return nil, err
	}
	return &edgev1.DeleteModelVersionResponse{}, nil
}

// SetModelVersionTag implements edgev1.MlflowServiceServer.
func (s *Server) SetModelVersionTag(ctx context.Context, req *edgev1.SetModelVersionTagRequest) (*edgev1.SetModelVersionTagResponse, error) {
	labels, err := labelsOf([]*edgev1.MlflowTag{{Key: req.GetKey(), Value: req.GetValue()}})
	if err != nil {
		return nil, err
	}
	_, err = s.registry.UpdateVersion(ctx, &registryv1.UpdateVersionRequest{Model: req.GetName(), Version: req.GetVersion(), Labels: labels})
	if err != nil {
		return nil, err
	}
	return &edgev1.SetModelVersionTagResponse{}, nil
}

// DeleteModelVersionTag implements edgev1.MlflowServiceServer.
func (s *Server) DeleteModelVersionTag(ctx context.Context, req *edgev1.DeleteModelVersionTagRequest) (*edgev1.DeleteModelVersionTagResponse, error) {
	_, err := s.registry.UpdateVersion(ctx, &registryv1.UpdateVersionRequest{
		Model: req.GetName(), Version: req.GetVersion(), RemoveLabels: []string{req.GetKey()},
	})
	if err != nil {
		return nil, err
	}
	return &edgev1.DeleteModelVersionTagResponse{}, nil
}

// GetLatestVersions implements edgev1.MlflowServiceServer.
func (s *Server) GetLatestVersions(ctx context.Context, req *edgev1.GetLatestVersionsRequest) (*edgev1.GetLatestVersionsResponse, error) {
	versions, err := s.latest(ctx, req.GetName(), req.GetStages())
	if err != nil {
		return nil, err
	}
	return &edgev1.GetLatestVersionsResponse{ModelVersions: versions}, nil
}

// latest returns the versions that the stages' aliases name, and the newest one for
// None; without stages, of all three.
func (s *Server) latest(ctx context.Context, name string, stages []string) ([]*edgev1.MlflowModelVersion, error) {
	aliases, err := s.aliases(ctx, name)
	if err != nil {
		return nil, err
	}
	page, err := s.registry.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: name, PageSize: 1})
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		stages = []string{stageNone, stageStaging, stageProduction}
	}
	var out []*edgev1.MlflowModelVersion
	seen := map[string]bool{}
	add := func(v *edgev1.MlflowModelVersion) {
		if !seen[v.GetVersion()] {
			seen[v.GetVersion()] = true
			out = append(out, v)
		}
	}
	for _, stage := range stages {
		alias := aliasOfStage(stage)
		if strings.EqualFold(stage, stageNone) {
			for _, v := range page.GetVersions() {
				add(versionOf(v, aliases))
			}
		}
		for _, a := range aliases {
			if alias != "" && a.GetName() == alias {
				v, err := s.version(ctx, name, strconv.Itoa(int(a.GetVersion())))
				if err != nil {
					return nil, err
				}
				add(v)
			}
		}
	}
	return out, nil
}

// TransitionModelVersionStage implements edgev1.MlflowServiceServer.
func (s *Server) TransitionModelVersionStage(ctx context.Context, req *edgev1.TransitionModelVersionStageRequest) (*edgev1.TransitionModelVersionStageResponse, error) {
	v, err := s.version(ctx, req.GetName(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	number, err := numberOf(req.GetVersion())
	if err != nil {
		return nil, err
	}
	switch alias := aliasOfStage(req.GetStage()); {
	case alias != "":
		err = s.setAlias(ctx, req.GetName(), alias, number)
	case strings.EqualFold(req.GetStage(), stageNone), strings.EqualFold(req.GetStage(), "Archived"):
		err = s.leaveStages(ctx, req.GetName(), v)
	default:
		err = apierr.Invalid("stage", "the stage must be None, Staging, Production or Archived")
	}
	if err != nil {
		return nil, err
	}
	if v, err = s.version(ctx, req.GetName(), req.GetVersion()); err != nil {
		return nil, err
	}
	return &edgev1.TransitionModelVersionStageResponse{ModelVersion: v}, nil
}

func (s *Server) leaveStages(ctx context.Context, name string, v *edgev1.MlflowModelVersion) error {
	for _, alias := range v.GetAliases() {
		if aliasOfStage(alias) != alias {
			continue
		}
		if err := s.deleteAlias(ctx, name, alias); err != nil {
			return err
		}
	}
	return nil
}
