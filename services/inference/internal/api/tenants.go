package api

import (
	"context"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/inference/internal/catalog"
)

// sees reports whether the caller sees a model: those of other tenants are as if
// they were not there. A service that calls for itself, and the platform's
// tenant, see all.
func (s *Server) sees(ctx context.Context, m *catalog.Model) bool {
	owner := m.State.GetModel().GetTenant()
	if owner == "" {
		return true
	}
	c, known := identity.FromContext(ctx)
	return !known || c.Tenant == owner || c.Tenant == s.opts.PlatformTenant
}

// checkSeen refuses a reference to a model that the caller does not see, in the
// words for one that is not there.
func (s *Server) checkSeen(ctx context.Context, snapshot *catalog.Snapshot, reference string) error {
	name, _, _ := strings.Cut(reference, "@")
	if m, ok := snapshot.Model(name); !ok || s.sees(ctx, m) {
		return nil
	}
	return apierr.New(apierr.ModelNotFound, "there is no model %q", name).WithField("model").WithMetadata("model", reference)
}

// page returns up to n models that the caller sees, whose names come after the
// given one, and whether there are more.
func (s *Server) page(ctx context.Context, snapshot *catalog.Snapshot, after string, n int) (out []*catalog.Model, more bool) {
	for {
		some, left := snapshot.Page(after, n)
		for i, m := range some {
			after = m.Name()
			if !s.sees(ctx, m) {
				continue
			}
			if out = append(out, m); len(out) == n {
				return out, left || i+1 < len(some)
			}
		}
		if !left {
			return out, false
		}
	}
}
