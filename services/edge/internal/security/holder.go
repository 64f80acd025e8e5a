package security

import (
	"context"
	"errors"
	"net/netip"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// Holder returns the holder of an API key as it is now, who may still have batches:
// for requests that are made on their behalf while they are not there. A key that does
// not hold any more is apierr.Unauthenticated, and a role that was taken away
// apierr.PermissionDenied; what could not be judged is another error. addr is where the
// batch was asked for from.
func (s *Security) Holder(ctx context.Context, keyID string, addr netip.Addr) (authn.Principal, error) {
	p, err := authn.NewAPIKeys(s.keys).ByID(ctx, keyID)
	if r, ok := errors.AsType[*authn.RefusedError](err); ok {
		return p, authn.Error(r)
	}
	if err != nil {
		return p, err
	}
	if len(p.Grant.Networks) > 0 && !p.Grant.Address(addr) {
		return p, authn.Error(&authn.RefusedError{Cause: authn.Network, KeyID: keyID})
	}
	ctx = clientaddr.NewContext(authn.NewContext(ctx, p), addr)
	m := authz.Table()[edgev1.BatchService_CreateBatch_FullMethodName]
	v, err := s.deps.Authorizer.Judge(ctx, m, p.Caller, (*edgev1.CreateBatchRequest)(nil))
	if err != nil {
		return p, err
	}
	if _, err := authz.CheckGrant(m, p.Grant, v.Resource, (*edgev1.CreateBatchRequest)(nil)); err != nil {
		return p, apierr.Wrap(apierr.PermissionDenied, err, "the key is not for batches any more")
	}
	return p, nil
}
