package middleware

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/possession"
)

// prove returns the proof that a request brings along, if its token is shown as
// one that needs it.
func (s *steps) prove(ctx context.Context, token string, scheme authn.Scheme, header headers) (possession.Proof, error) {
	if scheme != authn.DPoP {
		return possession.Proof{}, nil
	}
	if s.Possession == nil {
		return possession.Proof{}, &authn.RefusedError{Cause: authn.Malformed}
	}
	proof, err := s.Possession.Verify(ctx, token)
	if err == nil && proof.Nonce != "" {
		if err := header.set(metadata.Pairs(possession.NonceHeader, proof.Nonce)); err != nil {
			return possession.Proof{}, apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
		}
	}
	return proof, err
}

// confirm returns the principal of a token if what it is bound to was proven.
func (s *steps) confirm(ctx context.Context, scheme authn.Scheme, proof possession.Proof, p *authn.Principal) (*authn.Principal, error) {
	switch {
	case s.Possession != nil:
		return s.Possession.Confirm(ctx, scheme, proof, p)
	case !p.Confirmation.None():
		return nil, &authn.RefusedError{Cause: authn.Unproven, KeyID: p.Caller.KeyID}
	default:
		return p, nil
	}
}
