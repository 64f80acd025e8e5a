package server

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// UpdateVersion implements registryv1.RegistryServiceServer.
func (s *Server) UpdateVersion(ctx context.Context, req *registryv1.UpdateVersionRequest) (*registryv1.UpdateVersionResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	if err := checkMeta(req); err != nil {
		return nil, err
	}
	if err := checkBoth("remove_labels", req.GetLabels(), req.GetRemoveLabels()); err != nil {
		return nil, err
	}
	if err := checkBoth("remove_metrics", req.GetMetrics(), req.GetRemoveMetrics()); err != nil {
		return nil, err
	}
	v, err := s.store.UpdateVersion(ctx, actor(ctx), req.GetModel(), key, store.VersionUpdate{
		Description: req.Description, Licence: req.Licence, Lineage: req.GetLineage(), Schema: req.GetIoSchema(),
		Labels: req.GetLabels(), RemoveLabels: req.GetRemoveLabels(), Metrics: req.GetMetrics(), RemoveMetrics: req.GetRemoveMetrics(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.UpdateVersionResponse{Version: v}, nil
}

// DeleteVersion implements registryv1.RegistryServiceServer.
func (s *Server) DeleteVersion(ctx context.Context, req *registryv1.DeleteVersionRequest) (*registryv1.DeleteVersionResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	remove := s.store.DeleteVersion
	if req.GetPurge() {
		remove = s.store.PurgeVersion
	}
	if err := remove(ctx, actor(ctx), req.GetModel(), key); err != nil {
		return nil, err
	}
	return &registryv1.DeleteVersionResponse{}, nil
}

// UndeleteVersion implements registryv1.RegistryServiceServer.
func (s *Server) UndeleteVersion(ctx context.Context, req *registryv1.UndeleteVersionRequest) (*registryv1.UndeleteVersionResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	v, err := s.store.UndeleteVersion(ctx, actor(ctx), req.GetModel(), key)
	if err != nil {
		return nil, err
	}
	return &registryv1.UndeleteVersionResponse{Version: v}, nil
}

// described is what requests have that say something of a version.
type described interface {
	GetLicence() string
	GetLineage() *registryv1.Lineage
	GetIoSchema() *registryv1.IOSchema
	GetLabels() map[string]string
}

// checkMeta lists what is wrong with what is said of a version, besides what the
// contract's annotations say.
func checkMeta(req described) error {
	if err := checkTexts("licence", req.GetLicence()); err != nil {
		return err
	}
	if uri := req.GetLineage().GetTrainingRunUri(); uri != "" {
		if err := checkTexts("lineage.training_run_uri", uri); err != nil {
			return err
		}
		if problem := uriProblem(uri); problem != "" {
			return apierr.Invalid("lineage.training_run_uri", "lineage.training_run_uri %s", problem)
		}
	}
	for field, schema := range map[string]string{
		"io_schema.input_json_schema": req.GetIoSchema().GetInputJsonSchema(), "io_schema.output_json_schema": req.GetIoSchema().GetOutputJsonSchema(),
	} {
		var object map[string]json.RawMessage
		if schema != "" && json.Unmarshal([]byte(schema), &object) != nil {
			return apierr.Invalid(field, "%s must be a JSON object, as text", field)
		}
	}
	return nil
}

// checkTexts is checkText for several fields, each followed by its text.
func checkTexts(fieldsAndTexts ...string) error {
	for i := 0; i+1 < len(fieldsAndTexts); i += 2 {
		if err := checkText(fieldsAndTexts[i], fieldsAndTexts[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// checkBoth refuses what is set and removed at once.
func checkBoth[V any](field string, set map[string]V, remove []string) error {
	for _, name := range remove {
		if _, both := set[name]; both {
			return apierr.Invalid(field, "%s cannot be set and removed at once", fmt.Sprintf("%q", strings.TrimSpace(name)))
		}
	}
	return nil
}
