package server

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/digest"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// CreateVersion implements registryv1.RegistryServiceServer.
func (s *Server) CreateVersion(ctx context.Context, req *registryv1.CreateVersionRequest) (*registryv1.CreateVersionResponse, error) {
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	if err := checkMeta(req); err != nil {
		return nil, err
	}
	d, err := digestOf(req.GetSpec())
	if err != nil {
		return nil, err
	}
	v, err := s.store.CreateVersion(ctx, actor(ctx), &registryv1.Version{
		Model: req.GetModel(), Digest: d, Spec: req.GetSpec(), Description: req.GetDescription(),
		Lineage: req.GetLineage(), Metrics: req.GetMetrics(), IoSchema: req.GetIoSchema(), Licence: req.GetLicence(), Labels: req.GetLabels(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateVersionResponse{Version: v}, nil
}

// digestOf checks a specification and returns its digest.
func digestOf(spec *commonv1.ModelSpec) (string, error) {
	if err := checkSpec(spec); err != nil {
		return "", err
	}
	d, err := digest.Of(spec)
	switch {
	case errors.Is(err, digest.ErrUnknownFields):
		return "", apierr.Invalid("spec", "the specification has fields that this registry does not know: upgrade it first")
	case err != nil:
		return "", apierr.Wrap(apierr.InvalidArgument, err, "the specification has no canonical form").WithField("spec")
	}
	return d, nil
}

// GetVersion implements registryv1.RegistryServiceServer.
func (s *Server) GetVersion(ctx context.Context, req *registryv1.GetVersionRequest) (*registryv1.GetVersionResponse, error) {
	v, err := s.version(ctx, req.GetModel(), req.GetVersion())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetVersionResponse{Version: v}, nil
}

func (s *Server) version(ctx context.Context, model, ref string) (*registryv1.Version, error) {
	key, err := versionKey(ref)
	if err != nil {
		return nil, err
	}
	return s.store.GetVersion(ctx, model, key)
}

// versionKey reads how a request names a version: by its number or digest.
func versionKey(ref string) (store.VersionKey, error) {
	if strings.HasPrefix(ref, digest.Prefix) {
		return store.VersionKey{Digest: ref}, nil
	}
	number, err := strconv.ParseInt(strings.TrimPrefix(ref, "v"), 10, 32)
	if err != nil {
		return store.VersionKey{}, apierr.Invalid("version", "must be a number such as 3 or v3, or a digest, not %q", ref)
	}
	return store.VersionKey{Number: int32(number)}, nil
}

// ListVersions implements registryv1.RegistryServiceServer.
func (s *Server) ListVersions(ctx context.Context, req *registryv1.ListVersionsRequest) (*registryv1.ListVersionsResponse, error) {
	query, err := listQuery(req)
	if err != nil {
		return nil, err
	}
	p := pager[*registryv1.Version]{
		scope: "versions/" + req.GetModel() + queryScope(req),
		key:   func(v *registryv1.Version) string { return store.VersionPlace(v, req.GetOrderBy()).String() },
		list: func(after string, limit int) ([]*registryv1.Version, error) {
			query.After, query.Limit = after, limit
			return s.store.FindVersions(ctx, req.GetModel(), query)
		},
	}
	versions, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListVersionsResponse{Versions: versions, NextPageToken: next}, nil
}
