package mlflow

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// setAlias points an alias at a version.
func (s *Server) setAlias(ctx context.Context, model, alias string, version int32) error {
	resp, err := s.registry.SetAlias(ctx, &registryv1.SetAliasRequest{Model: model, Alias: alias, Version: version, Etag: anyEtag})
	if err != nil {
		return err
	}
	return waits(alias, resp.GetChange())
}

// deleteAlias removes an alias.
func (s *Server) deleteAlias(ctx context.Context, model, alias string) error {
	resp, err := s.registry.DeleteAlias(ctx, &registryv1.DeleteAliasRequest{Model: model, Alias: alias, Etag: anyEtag})
	if err != nil {
		return err
	}
	return waits(alias, resp.GetChange())
}

// waits says that a change waits for an approval. MLflow knows no such answer: one
// of success would be taken for a version that serves.
func waits(alias string, change *registryv1.AliasChange) error {
	if change == nil {
		return nil
	}
	return apierr.New(apierr.FailedPrecondition, "the alias %q is protected: it stays as it is until another approves of the change %s",
		alias, change.GetId()).WithField("alias")
}
