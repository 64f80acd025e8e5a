// Package assertion lets services prove to each other on whose behalf they call:
// a short-lived statement, signed with Ed25519 (RFC 8032) as a JWT (RFC 7519),
// that names its issuer, the services that it is for, and the caller or the
// service that calls for itself. Where no keys are configured the caller travels
// as package identity's plain encoding, which proves nothing. It knows no service;
// start reading at Open.
package assertion

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/jose"
)

// Type is the header's typ, so that no other token passes for an assertion
// (RFC 8725, section 3.11).
const Type = "poterne-caller+jwt"

const (
	// Life is how long an assertion is good for.
	Life = time.Minute
	// Reuse is for how much of its life the sender says it again: what is sent has at
	// least the rest to live.
	Reuse = Life / 2
	// Skew is by how much two clocks may differ.
	Skew = 5 * time.Second
	// MaxBytes bounds an assertion.
	MaxBytes = identity.MaxEncoded
	// maxAudiences bounds the services that one is for.
	maxAudiences = 8
)

// Narrowed is an audience at which an assertion is good for the methods of that
// purpose alone.
func Narrowed(service, purpose string) string { return service + "#" + purpose }

// claims is what an assertion says. The caller's members are those of
// identity.Caller; without them the issuer calls for itself.
type claims struct {
	Issuer   string   `json:"iss"`
	Audience []string `json:"aud"`
	Issued   int64    `json:"iat"`
	Expires  int64    `json:"exp"`

	Tenant     string   `json:"t,omitempty"`
	Subject    string   `json:"s,omitempty"`
	Principals []string `json:"p,omitempty"`
	Roles      []string `json:"r,omitempty"`
	KeyID      string   `json:"k,omitempty"`
}

func (c *claims) caller() identity.Caller {
	return identity.Caller{Tenant: c.Tenant, Subject: c.Subject, Principals: c.Principals, Roles: c.Roles, KeyID: c.KeyID}
}

// forItself reports whether nobody is named on whose behalf the call is made.
func (c *claims) forItself() bool {
	return c.Tenant == "" && c.Subject == "" && c.KeyID == "" && len(c.Principals) == 0 && len(c.Roles) == 0
}

// refusalError is why an assertion was refused: a label of metrics and logs, never part
// of an answer.
type refusalError string

// The causes.
const (
	errMissing    refusalError = "missing"
	errRepeated   refusalError = "repeated"
	errOversize   refusalError = "oversize"
	errUnsigned   refusalError = "unsigned"
	errMalformed  refusalError = "malformed"
	errUnknownKey refusalError = "unknown_key"
	errSignature  refusalError = "signature"
	errIssuer     refusalError = "issuer"
	errAudience   refusalError = "audience"
	errExpired    refusalError = "expired"
	errEarly      refusalError = "early"
	errLifetime   refusalError = "lifetime"
	// errBeyond is for what the issuer may not assert.
	errBeyond refusalError = "beyond"
	// errMethod is for one that is good, but not for this method.
	errMethod refusalError = "method"
)

// Error makes a cause an error.
func (c refusalError) Error() string { return "identity: " + string(c) }

// statement is an assertion that was verified. It is not changed once made.
type statement struct {
	issuer   string
	audience []string
	issued   time.Time
	expires  time.Time
	caller   identity.Caller // the zero value where the issuer calls for itself
}

func (s *statement) forItself() bool { return s.caller.Tenant == "" }

// covers reports whether it may be shown to that service, for whatever purpose.
func (s *statement) covers(service string) bool {
	return slices.ContainsFunc(s.audience, func(a string) bool {
		name, _, _ := strings.Cut(a, "#")
		return name == service
	})
}

// current returns why the statement does not hold at that time.
func (s *statement) current(now time.Time) error {
	switch {
	case !now.Before(s.expires.Add(Skew)):
		return errExpired
	case now.Add(Skew).Before(s.issued):
		return errEarly
	}
	return nil
}

// read makes a statement of claims that were signed by a key of the issuer.
func (c *claims) read(by Rights, key trusted) (*statement, error) {
	switch {
	case c.Issuer == "" || c.Issuer != key.issuer:
		return nil, errIssuer
	case len(c.Audience) == 0 || len(c.Audience) > maxAudiences:
		return nil, errAudience
	case c.Issued <= 0 || c.Expires <= c.Issued || c.Expires-c.Issued > int64(Life/time.Second):
		return nil, errLifetime
	}
	s := &statement{issuer: c.Issuer, audience: c.Audience, issued: time.Unix(c.Issued, 0), expires: time.Unix(c.Expires, 0)}
	if c.forItself() {
		return s, nil
	}
	s.caller = c.caller()
	if err := s.caller.Check(); err != nil {
		return nil, errMalformed
	}
	if !by.Callers || len(by.Tenants) > 0 && !slices.Contains(by.Tenants, s.caller.Tenant) {
		return nil, errBeyond
	}
	return s, nil
}

// errNoKey is returned where an assertion is to be made without a key.
var errNoKey = errors.New("identity: there is no key to sign with")

// algorithm is the only one that is used.
const algorithm = jose.EdDSA
