package jose

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of claims.
const (
	maxClaims     = 256
	maxClaimDepth = 16
	maxAudiences  = 64
)

// Claims are what a token says of its subject (RFC 7519, section 4), once its
// signature is verified.
type Claims struct {
	Issuer    string
	Subject   string
	Audience  []string
	ID        string
	Expires   time.Time // zero: not said
	NotBefore time.Time
	IssuedAt  time.Time
	// All is every claim as encoding/json would decode it into an any.
	All map[string]any
}

// ParseClaims reads a payload: a JSON object without a member twice at any depth,
// registered claims of the types that they must have, and times within what a
// time can be.
func ParseClaims(payload []byte) (Claims, error) {
	if err := shallow(payload); err != nil {
		return Claims{}, err
	}
	var in struct {
		Issuer    string         `json:"iss"`
		Subject   string         `json:"sub"`
		ID        string         `json:"jti"`
		Audience  jsontext.Value `json:"aud"`
		Expires   jsontext.Value `json:"exp"`
		NotBefore jsontext.Value `json:"nbf"`
		IssuedAt  jsontext.Value `json:"iat"`
	}
	if err := json.Unmarshal(payload, &in); err != nil {
		return Claims{}, errors.New("claims: they are no JSON object, or have a member twice or of the wrong type")
	}
	c := Claims{Issuer: in.Issuer, Subject: in.Subject, ID: in.ID}
	var err error
	if c.Audience, err = audience(in.Audience); err != nil {
		return Claims{}, err
	}
	for _, t := range []struct {
		name string
		text jsontext.Value
		into *time.Time
	}{{"exp", in.Expires, &c.Expires}, {"nbf", in.NotBefore, &c.NotBefore}, {"iat", in.IssuedAt, &c.IssuedAt}} {
		if *t.into, err = numericDate(t.name, t.text); err != nil {
			return Claims{}, err
		}
	}
	if err := json.Unmarshal(payload, &c.All); err != nil || c.All == nil { // null is none
		return Claims{}, errors.New("claims: they are no JSON object")
	}
	if len(c.All) > maxClaims {
		return Claims{}, fmt.Errorf("claims: %d are more than %d", len(c.All), maxClaims)
	}
	return c, nil
}

// shallow refuses what is nested deeper than claims are.
func shallow(payload []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(payload))
	for {
		if _, err := d.ReadToken(); err != nil {
			return nil //nolint:nilerr // what is no JSON is refused where it is decoded
		}
		if d.StackDepth() > maxClaimDepth {
			return fmt.Errorf("claims: they are nested deeper than %d", maxClaimDepth)
		}
	}
}

// audience is a string or a list of strings (RFC 7519, section 4.1.3).
func audience(text jsontext.Value) ([]string, error) {
	switch text.Kind() {
	case 0:
		return nil, nil
	case '"':
		var one string
		err := json.Unmarshal(text, &one)
		return []string{one}, err
	case '[':
		var many []string
		if err := json.Unmarshal(text, &many); err == nil && len(many) <= maxAudiences {
			return many, nil
		}
	default:
	}
	return nil, errors.New("claims: aud is neither a string nor a list of strings")
}

// numericDate is seconds since 1970, with a fraction if need be.
func numericDate(name string, text jsontext.Value) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	const latest = 253402300799 // the end of the year 9999
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil || text.Kind() != '0' || seconds < 0 || seconds > latest {
		return time.Time{}, fmt.Errorf("claims: %s is no time in seconds", name)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*float64(time.Second))), nil
}

// Expected is what claims must say. Issuer or AnyIssuer, and Audiences, must be set.
type Expected struct {
	Issuer string
	// AnyIssuer is for claims that somebody trusted says outright, and not a token.
	AnyIssuer bool
	// Audiences are those of whom the token must name one.
	Audiences []string
	// Skew is by how much the issuer's clock may differ.
	Skew time.Duration
	// MaxAge is how long after iat a token is accepted, whatever exp says; 0: as
	// exp says. A token without iat is refused where it is set.
	MaxAge time.Duration
	// Required are claims that must be there, and not be empty.
	Required []string
}

// The reasons why claims are not accepted.
var (
	ErrExpired  = errors.New("claims: the token has expired")
	ErrTooEarly = errors.New("claims: the token is not valid yet")
	ErrIssuer   = errors.New("claims: the token is another issuer's")
	ErrAudience = errors.New("claims: the token is meant for somebody else")
	ErrMissing  = errors.New("claims: a required claim is missing")
)

// Check returns nil if the claims say what they must at that time. exp is always
// required.
func (c *Claims) Check(e Expected, now time.Time) error {
	switch {
	case !e.AnyIssuer && (c.Issuer == "" || c.Issuer != e.Issuer):
		return ErrIssuer
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(e.Audiences, a) }):
		return ErrAudience
	case c.Expires.IsZero():
		return fmt.Errorf("%w: exp", ErrMissing)
	case !now.Before(c.Expires.Add(e.Skew)):
		return ErrExpired
	case now.Add(e.Skew).Before(c.NotBefore) || now.Add(e.Skew).Before(c.IssuedAt):
		return ErrTooEarly
	}
	if e.MaxAge > 0 {
		if c.IssuedAt.IsZero() {
			return fmt.Errorf("%w: iat", ErrMissing)
		}
		if !now.Before(c.IssuedAt.Add(e.MaxAge + e.Skew)) {
			return ErrExpired
		}
	}
	for _, name := range e.Required {
		if v, ok := c.All[name]; !ok || v == nil || v == "" {
			return fmt.Errorf("%w: %s", ErrMissing, name)
		}
	}
	return nil
}
