package issue

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/grant"
)

// issuer makes tokens. It is safe for concurrent use.
type issuer struct {
	config Config
	ring   *keyring
	clock  clock.Clock
}

// claims are those of RFC 9068, section 2.2, and the caller's tenant.
type claims struct {
	Issuer   string        `json:"iss"`
	Subject  string        `json:"sub"`
	Audience []string      `json:"aud"`
	Expires  int64         `json:"exp"`
	IssuedAt int64         `json:"iat"`
	ID       string        `json:"jti"`
	Client   string        `json:"client_id"`
	Tenant   string        `json:"tenant"`
	Scope    string        `json:"scope,omitempty"`
	Roles    []string      `json:"roles,omitempty"`
	Groups   []string      `json:"groups,omitempty"`
	Confirms *confirmation `json:"cnf,omitempty"`
	// The key's lists, where the token is for others: here they are those of the key
	// as it is then.
	Models      []string       `json:"models,omitempty"`
	Collections []string       `json:"collections,omitempty"`
	Networks    []netip.Prefix `json:"networks,omitempty"`
}

type confirmation struct {
	Key         string `json:"jkt,omitempty"`
	Certificate string `json:"x5t#S256,omitempty"`
}

// issued is a token, and what is said with it.
type issued struct {
	Token     string `json:"access_token"`
	Type      string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope,omitempty"`
}

// issue makes a token for the holder of a key, bound to what it has proven to have.
func (i *issuer) issue(ctx context.Context, p authn.Principal, r request, bound authn.Confirmation) (issued, error) {
	scopes, err := scopesOf(p, r.scopes)
	if err != nil {
		return issued{}, err
	}
	audiences := r.targets
	if len(audiences) == 0 {
		audiences = []string{i.config.Audience}
	}
	for _, a := range audiences {
		if a != i.config.Audience && a != i.config.Issuer && !slices.Contains(i.config.OtherAudiences, a) {
			return issued{}, wrong(invalidTarget, "no token is issued for that audience or resource")
		}
	}
	if i.config.SenderConstrained == Required && bound.None() {
		return issued{}, wrong(invalidRequest, "tokens are bound to a key here: send a DPoP proof")
	}
	now := i.clock.Now()
	lifetime := i.config.Lifetime
	if !p.ExpireTime.IsZero() { // the token ends with its key
		lifetime = min(lifetime, p.ExpireTime.Sub(now)).Truncate(time.Second)
	}
	signer, err := i.ring.signer(ctx)
	if err != nil {
		return issued{}, apierr.Wrap(apierr.Unavailable, err, "no token can be signed now").WithRetryAfter(retryAfter)
	}
	c := claims{
		Issuer: i.config.Issuer, Subject: p.Caller.Subject, Audience: audiences, IssuedAt: now.Unix(), Expires: now.Unix() + int64(lifetime/time.Second),
		ID: rand.Text(), Client: p.Caller.KeyID, Tenant: p.Caller.Tenant, Scope: strings.Join(scopes, " "), Roles: p.Caller.Roles, Groups: groupsOf(p),
	}
	out := issued{Type: "Bearer", ExpiresIn: int64(lifetime / time.Second), Scope: c.Scope}
	if bound.Key != "" {
		out.Type = "DPoP"
	}
	if !bound.None() {
		c.Confirms = &confirmation{bound.Key, bound.Certificate}
	}
	if slices.ContainsFunc(audiences, func(a string) bool { return a != i.config.Audience && a != i.config.Issuer }) {
		c.Models, c.Collections, c.Networks = p.Grant.Models, p.Grant.Collections, p.Grant.Networks
	}
	if out.Token, err = signer.Sign(tokenType, c); err != nil {
		return issued{}, apierr.Wrap(apierr.Internal, err, "the token cannot be signed")
	}
	if len(out.Token) > authn.MaxTokenBytes {
		return issued{}, wrong(invalidTarget, "the lists of the key are too long for a token that others are to read")
	}
	return out, nil
}

// scopesOf returns what a token may be used for: what is asked for, which must be
// within what the key may be used for.
func scopesOf(p authn.Principal, wanted []string) ([]string, error) {
	if len(wanted) == 0 {
		return p.Grant.Scopes, nil
	}
	for _, text := range wanted {
		if !isScope(text) {
			return nil, wrong(invalidScope, "a scope is type:action, such as model:chat")
		}
	}
	if (grant.Grant{Scopes: wanted}).Beyond(grant.Grant{Scopes: p.Grant.Scopes}) != "" {
		return nil, wrong(invalidScope, "the key may not be used for all that is asked for")
	}
	return wanted, nil
}

// groupsOf returns the groups among the caller's principals.
func groupsOf(p authn.Principal) (out []string) {
	for _, principal := range p.Caller.Principals {
		if name, ok := strings.CutPrefix(principal, "group:"); ok {
			out = append(out, name)
		}
	}
	return out
}
