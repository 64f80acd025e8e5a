package assertion

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/telemetry"
)

// believedBytes bounds what is remembered of callers that were taken at their word,
// twice.
const believedBytes = 1 << 20

// verifiedBytes bounds what is remembered of verified assertions, twice.
const verifiedBytes = 4 << 20

// trust is the keys that are believed, and what they were found to have signed.
type trust struct {
	text     files
	keys     map[string]trusted
	verified *cache[[sha256.Size]byte, *statement]
}

func newTrust(text files, keys map[string]trusted) *trust {
	return &trust{text: text, keys: keys, verified: newCache[[sha256.Size]byte, *statement](verifiedBytes)}
}

// received is an assertion as it came, for it to be passed on.
type received struct {
	raw string
	*statement
}

type receivedKey struct{}

// Server reads the caller into the context, or refuses the call.
func (a *Assertions) Server() grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: identity.Name,
		Enter: func(ctx context.Context, _ any, info *grpc.UnaryServerInfo) (context.Context, error) {
			return a.incoming(ctx, info.FullMethod)
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, err := a.incoming(ss.Context(), info.FullMethod)
			if err != nil {
				return err
			}
			return handler(srv, grpcserver.WithContext(ss, ctx))
		},
	}
}

func (a *Assertions) incoming(ctx context.Context, method string) (context.Context, error) {
	values := telemetry.FromIncoming(ctx, identity.MetadataKey)
	t := a.trust.Load()
	read := a.believe
	if t != nil {
		read = func(values []string, method string) (received, error) { return a.verify(t, values, method) }
	}
	r, err := read(values, method)
	if err != nil {
		var cause refusalError
		if !errors.As(err, &cause) {
			cause = errMalformed
		}
		a.note(ctx, method, cause)
		return nil, apierr.New(apierr.Unauthenticated, "the call does not prove on whose behalf it is made")
	}
	if r.statement == nil {
		return ctx, nil
	}
	if r.raw != "" {
		ctx = context.WithValue(ctx, receivedKey{}, r)
	}
	if r.forItself() {
		return ctx, nil
	}
	if err := a.opts.Access[method].permits(r.caller, a.opts.PlatformTenant); err != nil {
		return nil, err
	}
	return identity.Sharing(ctx, &r.caller), nil
}

// verify reads what must have been signed.
func (a *Assertions) verify(t *trust, values []string, method string) (received, error) {
	access, ours := a.opts.Access[method]
	if !ours && strings.HasPrefix(method, "/grpc.") { // health and reflection ask nobody
		return received{}, nil
	}
	switch {
	case len(values) == 0:
		return received{}, errMissing
	case len(values) > 1:
		return received{}, errRepeated
	case len(values[0]) > MaxBytes:
		return received{}, errOversize
	case isPlain(values[0]):
		return received{}, errUnsigned
	}
	s, err := a.statement(t, values[0])
	if err != nil {
		return received{}, err
	}
	if err := s.current(a.opts.Clock.Now()); err != nil {
		return received{}, err
	}
	return received{values[0], s}, access.admits(s, a.opts.Service)
}

func (a *Assertions) statement(t *trust, raw string) (*statement, error) {
	sum := sha256.Sum256([]byte(raw))
	if s, ok := t.verified.get(sum); ok {
		return s, nil
	}
	token, err := jose.Parse(raw)
	if err != nil || token.Type != Type || token.Algorithm != algorithm {
		return nil, errMalformed
	}
	key, ok := t.keys[token.KeyID]
	if !ok {
		return nil, errUnknownKey
	}
	payload, err := token.Verify(key.set)
	if err != nil {
		return nil, errSignature
	}
	var c claims
	if err := json.Unmarshal(payload, &c, json.RejectUnknownMembers(true)); err != nil {
		return nil, errMalformed
	}
	s, err := c.read(a.opts.Config.rights(key.issuer), key)
	if err != nil {
		return nil, err
	}
	// What is of no use is not kept: it would take the place of what is.
	if s.current(a.opts.Clock.Now()) == nil && s.covers(a.opts.Service) {
		t.verified.put(sum, s, len(raw)+sha256.Size)
	}
	return s, nil
}

// plain reads what is not signed, or knows it from before.
func (a *Assertions) plain(value string) (*statement, error) {
	if s, ok := a.believed.get(value); ok {
		return s, nil
	}
	c, err := identity.Plain().Decode([]byte(value))
	if err != nil {
		return nil, errMalformed
	}
	s := &statement{caller: c}
	a.believed.put(value, s, 2*len(value))
	return s, nil
}

// believe takes callers at their word, also those that are signed: so services can
// begin to sign before the others verify.
func (a *Assertions) believe(values []string, method string) (received, error) {
	switch {
	case len(values) == 0:
		if a.required(method) {
			return received{}, errMissing
		}
		return received{}, nil
	case len(values) > 1:
		return received{}, errRepeated
	case isPlain(values[0]) || values[0] == "":
		s, err := a.plain(values[0])
		return received{statement: s}, err
	}
	token, err := jose.Parse(values[0])
	if err != nil || token.Type != Type {
		return received{}, errMalformed
	}
	var c claims
	if err := json.Unmarshal(token.Unverified(), &c); err != nil {
		return received{}, errMalformed
	}
	s := &statement{issuer: c.Issuer, audience: c.Audience, expires: time.Unix(c.Expires, 0)}
	if c.forItself() {
		return received{values[0], s}, nil
	}
	if s.caller = c.caller(); s.caller.Check() != nil {
		return received{}, errMalformed
	}
	return received{values[0], s}, nil
}

func (a *Assertions) required(method string) bool {
	if a.opts.Required != nil {
		return a.opts.Required(method)
	}
	access := a.opts.Access[method]
	return access.Callers && len(access.Services) == 0
}

// isPlain tells identity's plain encoding, which begins with its version.
func isPlain(value string) bool { return value != "" && value[0] < ' ' }
