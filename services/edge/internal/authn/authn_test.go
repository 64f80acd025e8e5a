package authn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/apikey"
)

func TestToken(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   string
		cause  Cause
	}{
		{"nothing", nil, "", Missing},
		{"a token", []string{"Bearer abc"}, "abc", ""},
		{"in lower case", []string{"bearer abc"}, "abc", ""},
		{"with spaces", []string{"Bearer   abc "}, "abc", ""},
		{"another scheme", []string{"Basic abc"}, "", Malformed},
		{"no scheme", []string{"abc"}, "", Malformed},
		{"no token", []string{"Bearer "}, "", Malformed},
		{"two", []string{"Bearer a", "Bearer b"}, "", Malformed},
		{"too long", []string{"Bearer " + strings.Repeat("x", maxTokenBytes+1)}, "", Malformed},
	} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.MD{Header: c.values})
		got, err := Token(ctx)
		var r *RefusedError
		if errors.As(err, &r); got != c.want || (r == nil) != (c.cause == "") || r != nil && r.Cause != c.cause {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestRefusedCredentialsAllGetTheSameAnswer(t *testing.T) {
	want := Error(&RefusedError{Cause: Unknown}).Error()
	for _, cause := range []Cause{Malformed, Revoked, Expired} {
		r := &RefusedError{Cause: cause, KeyID: "k"}
		if got := Error(r).Error(); got != want {
			t.Errorf("%s is told apart: %s", cause, got)
		}
		if ChallengeFor(r) != `Bearer realm="poterne", error="invalid_token"` {
			t.Errorf("%s: the challenge is %s", cause, ChallengeFor(r))
		}
	}
	missing := &RefusedError{Cause: Missing}
	if apierr.ReasonOf(Error(missing)) != apierr.Unauthenticated || ChallengeFor(missing) != `Bearer realm="poterne"` {
		t.Errorf("missing: %v, %s", Error(missing), ChallengeFor(missing))
	}
}

type only string

func (o only) Recognises(token string) bool { return strings.HasPrefix(token, string(o)) }

func (o only) Authenticate(context.Context, string) (Principal, error) {
	return Principal{RequestsPerMinute: len(o)}, nil
}

func TestChain(t *testing.T) {
	c := Chain{only("a-"), only("bb-")}
	if p, err := c.Authenticate(t.Context(), "bb-1"); err != nil || p.RequestsPerMinute != 3 {
		t.Errorf("%+v, %v", p, err)
	}
	if !c.Recognises("a-1") || c.Recognises("c-1") {
		t.Error("recognises the wrong ones")
	}
	var r *RefusedError
	if _, err := c.Authenticate(t.Context(), "c-1"); !errors.As(err, &r) || r.Cause != Malformed {
		t.Errorf("nobody's token: %v", err)
	}
}

func TestCallerOfAKey(t *testing.T) {
	rec := apikey.Record{ID: "k", Tenant: "acme", Subject: "ada", Roles: []string{"reader"}, Groups: []string{"ops"}}
	rec.Grant.Models = []string{"tiny"}
	p, err := principal(apikey.Verified{Record: rec, Access: rec.Access()}, nil)
	if err != nil || !slices.Equal(p.Grant.Models, rec.Grant.Models) {
		t.Fatalf("%+v, %v", p, err)
	}
	c := p.Caller
	want := []string{"user:ada", "tenant:acme", "public", "group:ops", "role:reader"}
	if !slices.Equal(c.Principals, want) || c.Tenant != "acme" || c.Subject != "ada" || c.KeyID != "k" || !c.HasRole("reader") {
		t.Errorf("%+v", c)
	}
}
