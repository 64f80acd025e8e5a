package assertion

import (
	"context"
	"strconv"
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
	unproved *cache[string, metadata.MD] // callers that were passed on unsigned, encoded
}

// signature is a signed assertion.
type signature struct {
	md    metadata.MD // that has it
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
		unproved: newCache[string, metadata.MD](believedBytes),
	}
}

// option replaces what a handler may have copied from its own caller's metadata.
func (s *sender) option() grpcclient.Option {
	return grpcclient.WithOutgoing(func(ctx context.Context, m grpcclient.Metadata) (grpcclient.Metadata, error) {
		md, err := s.metadata(ctx)
		if err != nil {
			return m, apierr.Wrap(apierr.Internal, err, "the caller cannot be passed on")
		}
		return m.Without(identity.MetadataKey).And(md), nil
	})
}

// saying is the metadata that has an assertion, or a caller as it is; it is made once for
// many calls, and not changed.
func saying(raw string) metadata.MD { return metadata.MD{identity.MetadataKey: []string{raw}} }

// metadata returns what says who calls; nil: nobody is to be named.
func (s *sender) metadata(ctx context.Context) (metadata.MD, error) {
	if s.a.signer.Load() == nil {
		return s.unsigned(ctx)
	}
	raw, caller := s.who(ctx)
	if raw != "" {
		return saying(raw), nil
	}
	return s.sign(caller)
}

func (s *sender) unsigned(ctx context.Context) (metadata.MD, error) {
	c, ok := identity.FromContext(ctx)
	if !ok || !s.plain {
		return nil, nil //nolint:nilnil // nobody is to be named
	}
	var room [keyRoom]byte
	key := appendKey(room[:0], &c)
	if md, ok := known(s.unproved, key); ok {
		return md, nil
	}
	data, err := identity.Plain().Encode(c)
	if err != nil {
		return nil, err
	}
	md := saying(string(data))
	s.unproved.put(string(key), md, len(key)+len(data))
	return md, nil
}

// sign says who calls, or says again what it has said of late.
func (s *sender) sign(caller identity.Caller) (metadata.MD, error) {
	signer, now := s.a.signer.Load(), s.a.opts.Clock.Now()
	if signer == nil {
		return nil, errNoKey
	}
	var room [keyRoom]byte
	key := appendKey(room[:0], &caller)
	if had, ok := known(s.signed, key); ok && had.by == signer && now.Before(had.until) {
		return had.md, nil
	}
	c := claims{
		Issuer: s.a.opts.Service, Audience: s.audience, Issued: now.Unix(), Expires: now.Add(Life).Unix(),
		Tenant: caller.Tenant, Subject: caller.Subject, Principals: caller.Principals, Roles: caller.Roles, KeyID: caller.KeyID,
	}
	if !c.forItself() {
		if err := caller.Check(); err != nil {
			return nil, err
		}
	}
	raw, err := signer.Sign(Type, &c)
	if err != nil {
		return nil, err
	}
	if len(raw) > MaxBytes {
		return nil, errOversize
	}
	md := saying(raw)
	s.signed.put(string(key), signature{md: md, by: signer, until: now.Add(Reuse)}, len(key)+len(raw))
	return md, nil
}

// keyRoom is what the key of most callers takes, in bytes.
const keyRoom = 512

// appendKey adds to dst what tells every two callers apart: each text has its length
// before it.
func appendKey(dst []byte, c *identity.Caller) []byte {
	for _, text := range [...]string{c.Tenant, c.Subject, c.KeyID} {
		dst = appendText(dst, text)
	}
	for _, list := range [...][]string{c.Principals, c.Roles} {
		dst = append(dst, ';')
		for _, text := range list {
			dst = appendText(dst, text)
		}
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	dst = append(strconv.AppendInt(dst, int64(len(text)), 10), ':')
	return append(dst, text...)
}
