package server

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// SignVersion implements registryv1.RegistryServiceServer.
func (s *Server) SignVersion(ctx context.Context, req *registryv1.SignVersionRequest) (*registryv1.SignVersionResponse, error) {
	key, err := versionKey(req.GetVersion())
	if err != nil {
		return nil, err
	}
	v, err := s.store.SignVersion(ctx, actor(ctx), req.GetModel(), key, req.GetVariant(), req.GetSignature(), func(digest string) error {
		if err := s.opts.Signatures.Verify(digest, req.GetSignature()); err != nil {
			return apierr.Invalid("signature", "%v", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.SignVersionResponse{Version: v}, nil
}
