package assertion

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/jose"
)

// signedBytes bounds what is remembered of signed assertions, for each service
// called, twice.
const signedBytes = 4 << 20

// sender writes who calls, on the way to one service.
type sender struct {
	a        *Assertions
	audience []string // the service called first
	who      func(ctx context.Context) (raw string, caller identity.Caller)
	plain    bool // whether callers are passed on when nothing is signed
	signed   *cache[string, signature]
	unproved *cache[string, string] // callers that were passed on unsigned, encoded
}

// signature is a signed assertion.
type signature struct {
	raw   string
	by    *jose.Signer
	until time.Time // from when another is signed
}

// Issue vouches for the context's caller to the service called. What it signs is
// good at the further audiences, too: see Narrowed. Without a caller the service
// calls for itself.
func (a *Assertions) Issue(service string, further ...string) grpcclient.Option {
	s := a.sender(service, true)
	s.audience = append(s.audience, further...)
	s.who = func(ctx context.Context) (string, identity.Caller) {
		c, _ := identity.FromContext(ctx)
		return "", c
	}
	return s.option()
}

// Forward passes on the assertion that came with the call in hand, if it is good
// at the service called and speaks of the context's caller; otherwise the service
// calls for itself.
func (a *Assertions) Forward(service string) grpcclient.Option {
	s := a.sender(service, true)
	s.who = func(ctx context.Context) (string, identity.Caller) {
		r, ok := ctx.Value(receivedKey{}).(received)
		if c, _ := identity.FromContext(ctx); !ok || !r.covers(service) || c.Tenant != r.caller.Tenant || c.Subject != r.caller.Subject ||
			!a.opts.Clock.Now().Before(r.expires) {
			return "", identity.Caller{}
		}
		return r.raw, identity.Caller{}
	}
	return s.option()
}

// Own has the service call for itself, whoever calls it.
func (a *Assertions) Own(service string) grpcclient.Option {
	s := a.sender(service, false)
	s.who = func(context.Context) (string, identity.Caller) { return "", identity.Caller{} }
	return s.option()
}

func (a *Assertions) sender(service string, plain bool) *sender {
	return &sender{
		a: a, audience: []string{service}, plain: plain, signed: newCache[string, signature](signedBytes),
		unproved: newCache[string, string](believedBytes),
	}
}

// option replaces what a handler may have copied from its own caller's metadata.
func (s *sender) option() grpcclient.Option {
	return grpcclient.WithOutgoing(func(ctx context.Context, md metadata.MD) error {
		value, err := s.value(ctx)
		if err != nil {
			return apierr.Wrap(apierr.Internal, err, "the caller cannot be passed on")
		}
		delete(md, identity.MetadataKey)
		if value != "" {
			md[identity.MetadataKey] = []string{value}
		}
		return nil
	})
}

func (s *sender) value(ctx context.Context) (string, error) {
	if s.a.signer.Load() == nil {
		return s.unsigned(ctx)
	}
	raw, caller := s.who(ctx)
	if raw != "" {
		return raw, nil
	}
	return s.sign(caller)
}

func (s *sender) unsigned(ctx context.Context) (string, error) {
	c, ok := identity.FromContext(ctx)
	if !ok || !s.plain {
		return "", nil
	}
	key := cacheKey(c)
	if raw, ok := s.unproved.get(key); ok {
		return raw, nil
	}
	data, err := identity.Plain().Encode(c)
	if err != nil {
		return "", err
	}
	raw := string(data)
	s.unproved.put(key, raw, len(key)+len(raw))
	return raw, nil
}

// sign says who calls, or says again what it has said of late.
func (s *sender) sign(caller identity.Caller) (string, error) {
	signer, now := s.a.signer.Load(), s.a.opts.Clock.Now()
	if signer == nil {
		return "", errNoKey
	}
	key := cacheKey(caller)
	if had, ok := s.signed.get(key); ok && had.by == signer && now.Before(had.until) {
		return had.raw, nil
	}
	c := claims{
		Issuer: s.a.opts.Service, Audience: s.audience, Issued: now.Unix(), Expires: now.Add(Life).Unix(),
		Tenant: caller.Tenant, Subject: caller.Subject, Principals: caller.Principals, Roles: caller.Roles, KeyID: caller.KeyID,
	}
	if !c.forItself() {
		if err := caller.Check(); err != nil {
			return "", err
		}
	}
	raw, err := signer.Sign(Type, &c)
	if err != nil {
		return "", err
	}
	if len(raw) > MaxBytes {
		return "", errOversize
	}
	s.signed.put(key, signature{raw: raw, by: signer, until: now.Add(Reuse)}, len(key)+len(raw))
	return raw, nil
}

// cacheKey tells every two callers apart: each text has its length before it.
func cacheKey(c identity.Caller) string {
	var b strings.Builder
	size := len(c.Tenant) + len(c.Subject) + len(c.KeyID) + 4*(len(c.Principals)+len(c.Roles)) + 24
	for _, list := range [][]string{c.Principals, c.Roles} {
		for _, text := range list {
			size += len(text)
		}
	}
	b.Grow(size)
	var digits [20]byte
	write := func(text string) {
		b.Write(strconv.AppendInt(digits[:0], int64(len(text)), 10))
		b.WriteByte(':')
		b.WriteString(text)
	}
	write(c.Tenant)
	write(c.Subject)
	write(c.KeyID)
	for _, list := range [][]string{c.Principals, c.Roles} {
		b.WriteByte(';')
		for _, text := range list {
			write(text)
		}
	}
	return b.String()
}
