package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// ArtifactPrefix begins the URI of an artifact that the registry keeps; its
// SHA-256 follows.
const ArtifactPrefix = "registry://sha256/"

// refer notes that a version, or a variant of it, refers to the artifacts that
// its specification names, and refuses what is not there. It is part of the
// transaction that makes the version, so that no sweep comes between.
func (c *change) refer(ctx context.Context, spec *commonv1.ModelSpec, version int32, variant string) error {
	told := make(map[string]bool)
	for i, a := range spec.GetArtifacts() {
		sha256, ok := strings.CutPrefix(a.GetUri(), ArtifactPrefix)
		if !ok {
			continue
		}
		field := fmt.Sprintf("spec.artifacts[%d]", i)
		var size int64
		err := c.tx.QueryRowContext(ctx, `UPDATE registry_artifacts SET unreferenced_since = NULL
			WHERE sha256 = $1 RETURNING size_bytes`, sha256).Scan(&size)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return apierr.New(apierr.FailedPrecondition, "the registry has no artifact %.64s: upload it first", sha256).WithField(field + ".uri")
		case err != nil:
			return fmt.Errorf("artifact: %w", err)
		case a.GetSha256() != sha256:
			return apierr.Invalid(field+".sha256", "must be that of the URI")
		case a.GetSizeBytes() != size:
			return apierr.Invalid(field+".size_bytes", "the artifact has %d bytes, not %d", size, a.GetSizeBytes())
		case told[sha256]:
			continue
		}
		told[sha256] = true
		if variant == "" {
			err = c.exec(ctx, `INSERT INTO registry_version_artifacts (model, version, sha256) VALUES ($1, $2, $3)`, c.model, version, sha256)
		} else {
			err = c.exec(ctx, `INSERT INTO registry_variant_artifacts (model, version, variant, sha256) VALUES ($1, $2, $3, $4)`,
				c.model, version, variant, sha256)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
