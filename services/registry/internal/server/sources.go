package server

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/modelsource"
)

// Sources says what InspectSource reads.
type Sources struct {
	// Roots are absolute directories; none lets nothing be read.
	Roots []string
	// MaxBytes bounds one file.
	MaxBytes int64
}

// InspectSource implements registryv1.RegistryServiceServer.
func (s *Server) InspectSource(ctx context.Context, req *registryv1.InspectSourceRequest) (*registryv1.InspectSourceResponse, error) {
	if len(s.opts.Sources.Roots) == 0 {
		return nil, apierr.Invalid("source", "this registry reads no sources (sources.roots is empty): tell the SHA-256 of the file instead")
	}
	u, err := url.Parse(req.GetUri())
	if err != nil || u.Scheme != "" && u.Scheme != "file" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return nil, apierr.Invalid("source", "the source must be file:///absolute/directory: other places are not read, tell the SHA-256 of the file instead")
	}
	root := s.rootOf(u.Path)
	if root == "" {
		return nil, apierr.Invalid("source", "the source is not below a directory that this registry reads (sources.roots)")
	}
	found, err := modelsource.Read(ctx, modelsource.Dir{Path: filepath.Clean(u.Path), Root: root}, modelsource.Options{MaxBytes: s.opts.Sources.MaxBytes})
	switch {
	case errors.Is(err, modelsource.ErrNotServed), errors.Is(err, modelsource.ErrChanged):
		return nil, apierr.Wrap(apierr.InvalidArgument, err, "the source cannot be a version here: %v", err).WithField("source")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, apierr.Wrap(apierr.InvalidArgument, err, "the source cannot be read").WithField("source")
	}
	return &registryv1.InspectSourceResponse{Spec: found.Spec, Notes: found.Notes, Licence: found.Licence}, nil
}

// rootOf returns the root that a path lies below, links followed; "" when there is
// none, and when the path is not there: which of the two is not told.
func (s *Server) rootOf(path string) string {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	for _, root := range s.opts.Sources.Roots {
		realRoot, err := filepath.EvalSymlinks(root)
		if err == nil && (resolved == realRoot || strings.HasPrefix(resolved, strings.TrimSuffix(realRoot, "/")+string(filepath.Separator))) {
			return root
		}
	}
	return ""
}
