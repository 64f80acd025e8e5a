package server

import (
	"context"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/pagetoken"
)

const archiveScope = "archive"

// ExportModels implements registryv1.RegistryServiceServer.
func (s *Server) ExportModels(ctx context.Context, req *registryv1.ExportModelsRequest) (*registryv1.ExportModelsResponse, error) {
	if err := s.checkPlatform(ctx); err != nil {
		return nil, err
	}
	var model string
	var version int64
	if token := req.GetPageToken(); token != "" {
		at, err := pagetoken.Decode(archiveScope, token)
		if err != nil {
			return nil, errBadToken()
		}
		number, name, _ := strings.Cut(at, " ")
		model = name
		if version, err = strconv.ParseInt(number, 10, 32); err != nil {
			return nil, errBadToken()
		}
	}
	page, err := s.store.Export(ctx, model, int32(version))
	if err != nil {
		return nil, err
	}
	resp := &registryv1.ExportModelsResponse{Models: page.Models, Revision: page.Revision}
	if !page.Last {
		resp.NextPageToken = pagetoken.Encode(archiveScope, strconv.Itoa(int(page.AfterVersion))+" "+page.AfterModel)
	}
	return resp, nil
}

// ImportModels implements registryv1.RegistryServiceServer.
func (s *Server) ImportModels(ctx context.Context, req *registryv1.ImportModelsRequest) (*registryv1.ImportModelsResponse, error) {
	if err := s.checkPlatform(ctx); err != nil {
		return nil, err
	}
	seen := make(map[string]bool, len(req.GetModels()))
	for _, m := range req.GetModels() {
		if name := m.GetModel().GetName(); seen[name] {
			return nil, apierr.Invalid("models", "the model %q comes twice", name)
		}
		seen[m.GetModel().GetName()] = true
		if err := s.checkContract(m); err != nil {
			return nil, err
		}
		if len(m.GetExperiments())+len(m.GetRollouts())+len(m.GetAliasHistory())+len(m.GetSplitHistory())+len(m.GetProtected()) > 0 {
			return nil, apierr.Invalid("models", "%q: experiments, rollouts, histories and protections are imported by ImportArchive", m.GetModel().GetName())
		}
		if err := checkArchived(m); err != nil {
			return nil, err
		}
	}
	outcomes, err := s.store.Import(ctx, actor(ctx), req.GetModels(), req.GetConflict(), req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &registryv1.ImportModelsResponse{Outcomes: outcomes}, nil
}

func (s *Server) checkPlatform(ctx context.Context) error {
	if c, known := identity.FromContext(ctx); known && !s.seesAll(c) {
		return apierr.New(apierr.PermissionDenied, "only callers of the platform's tenant may move the registry")
	}
	return nil
}

// checkArchived holds a model to the rules by which it would have been made, and
// every digest against what it is of.
func checkArchived(a *registryv1.ArchivedModel) error {
	m := a.GetModel()
	if err := checkTexts("models", m.GetDisplayName(), "models", m.GetCard(), "models", m.GetOwner(), "models", m.GetLicence(), "models", m.GetTenant()); err != nil {
		return err
	}
	for _, v := range a.GetVersions() {
		if err := checkText("models", v.GetDescription()); err != nil {
			return err
		}
		if err := checkMeta(v); err != nil {
			return err
		}
		if err := checkMoved(m.GetName(), v.GetDigest(), v.GetSpec()); err != nil {
			return err
		}
		for _, variant := range v.GetVariants() {
			if err := checkText("models", variant.GetDescription()); err != nil {
				return err
			}
			if err := checkMoved(m.GetName(), variant.GetDigest(), variant.GetSpec()); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMoved(model, told string, spec *commonv1.ModelSpec) error {
	d, err := digestOf(spec)
	if err != nil {
		return err
	}
	if d != told {
		return apierr.Invalid("models", "a version of %q is told to be %s, and its specification is %s", model, told, d)
	}
	return nil
}
