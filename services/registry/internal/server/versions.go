package server

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/digest"
)

// CreateVersion implements registryv1.RegistryServiceServer.
func (s *Server) CreateVersion(ctx context.Context, req *registryv1.CreateVersionRequest) (*registryv1.CreateVersionResponse, error) {
	if err := checkText("description", req.GetDescription()); err != nil {
		return nil, err
	}
	if err := checkSpec(req.GetSpec()); err != nil {
		return nil, err
	}
	d, err := digest.Of(req.GetSpec())
	switch {
	case errors.Is(err, digest.ErrUnknownFields):
		return nil, apierr.Invalid("spec", "the specification has fields that this registry does not know: upgrade it first")
	case err != nil:
		return nil, apierr.Wrap(apierr.InvalidArgument, err, "the specification has no canonical form").WithField("spec")
	}
	v, err := s.store.CreateVersion(ctx, actor(ctx), &registryv1.Version{
		Model: req.GetModel(), Digest: d, Spec: req.GetSpec(), Description: req.GetDescription(),
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateVersionResponse{Version: v}, nil
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
	if strings.HasPrefix(ref, digest.Prefix) {
		return s.store.GetVersionByDigest(ctx, model, ref)
	}
	number, err := strconv.ParseInt(strings.TrimPrefix(ref, "v"), 10, 32)
	if err != nil {
		return nil, apierr.Invalid("version", "must be a number such as 3 or v3, or a digest, not %q", ref)
	}
	return s.store.GetVersion(ctx, model, int32(number))
}

// ListVersions implements registryv1.RegistryServiceServer.
func (s *Server) ListVersions(ctx context.Context, req *registryv1.ListVersionsRequest) (*registryv1.ListVersionsResponse, error) {
	p := pager[*registryv1.Version]{
		scope: "versions/" + req.GetModel(),
		key:   func(v *registryv1.Version) string { return strconv.Itoa(int(v.GetNumber())) },
		list: func(after string, limit int) ([]*registryv1.Version, error) {
			var before int64
			if after != "" {
				var err error
				if before, err = strconv.ParseInt(after, 10, 32); err != nil {
					return nil, errBadToken()
				}
			}
			return s.store.ListVersions(ctx, req.GetModel(), int32(before), limit)
		},
	}
	versions, next, err := p.page(req)
	if err != nil {
		return nil, err
	}
	return &registryv1.ListVersionsResponse{Versions: versions, NextPageToken: next}, nil
}
