package authn

import (
	"context"
	"strings"

	"github.com/poterne/poterne/pkg/telemetry"
)

// Scheme is how credentials are shown, in lower case.
type Scheme string

// The schemes.
const (
	Bearer Scheme = "bearer"
	// DPoP shows a token with the proof that its holder has a key (RFC 9449).
	DPoP Scheme = "dpop"
)

// ShownKey is what a context is asked for to find the values of the header that a request
// came with, a *[]string, before there is a call with metadata.
type ShownKey struct{}

// Token returns the token of a request, or of a gRPC call, and how it is shown.
func Token(ctx context.Context) (string, Scheme, error) {
	var values []string
	if shown, ok := ctx.Value(ShownKey{}).(*[]string); ok {
		values = *shown
	} else {
		values = telemetry.FromIncoming(ctx, Header)
	}
	if len(values) == 0 {
		return "", "", &RefusedError{Cause: Missing}
	}
	name, token, ok := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	scheme := Scheme(strings.ToLower(name))
	if len(values) > 1 || !ok || scheme != Bearer && scheme != DPoP || token == "" || len(token) > MaxTokenBytes {
		return "", "", &RefusedError{Cause: Malformed}
	}
	return token, scheme, nil
}

// Challenges tells refused callers how to authenticate.
type Challenges struct {
	// Algorithms are those of proofs, with spaces between; empty: no token is bound
	// to a key.
	Algorithms string
	// Metadata is the URL of what the gateway says about itself as a protected
	// resource (RFC 9728); empty: nowhere.
	Metadata string
}

// For returns the values of the header Challenge (RFC 6750, section 3; RFC 9449,
// section 7.1). What was wrong is said only of the scheme that was used.
func (c Challenges) For(r *RefusedError, used Scheme) []string {
	code := r.Code
	switch {
	case r.Cause == Missing:
		code = ""
	case code == "":
		code = "invalid_token"
	}
	out := make([]string, 0, 2)
	if used != DPoP {
		out = append(out, c.challenge("Bearer", code))
		code = ""
	}
	if c.Algorithms != "" || used == DPoP {
		out = append(out, c.challenge("DPoP", code))
	}
	return out
}

func (c Challenges) challenge(scheme, code string) string {
	s := scheme + ` realm="poterne"`
	if code != "" {
		s += `, error="` + code + `"`
	}
	if scheme == "DPoP" {
		s += `, algs="` + c.Algorithms + `"`
	}
	if c.Metadata != "" {
		s += `, resource_metadata="` + c.Metadata + `"`
	}
	return s
}
