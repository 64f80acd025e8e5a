package middleware

import (
	"context"
	"testing"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// A passage is found by each package whose value it has, and hides nothing else.
func TestPassage(t *testing.T) {
	type other struct{}
	entry := audit.NewEntry("r")
	root := context.WithValue(t.Context(), other{}, "kept")
	before := &passage{Context: root, entry: entry}
	if audit.From(before) != entry || before.Value(other{}) != "kept" {
		t.Error("the record, or what was there, is not found")
	}
	if _, ok := authn.FromContext(before); ok || obligation.Note(before, obligation.Set{Redact: true}) {
		t.Error("somebody asks before that is known")
	}
	who := &authn.Principal{Caller: identity.Caller{Tenant: "acme", Subject: "ada"}, RequestsPerMinute: 7}
	ctx := withPrincipal(before, who)
	if ctx != context.Context(before) {
		t.Error("another context is made for who asks")
	}
	if p, ok := authn.FromContext(ctx); !ok || p.RequestsPerMinute != 7 {
		t.Errorf("%+v, %v", p, ok)
	}
	if c, ok := identity.FromContext(ctx); !ok || c.Subject != "ada" {
		t.Errorf("%+v, %v", c, ok)
	}
	if !obligation.Note(ctx, obligation.Set{Redact: true}) || !obligation.From(ctx).Redact {
		t.Error("nothing can be noted of what the policy asks")
	}
	// Somebody else's part of the request has values of its own.
	inner := withPrincipal(context.WithValue(ctx, other{}, "else"), &authn.Principal{Caller: identity.Caller{Subject: "bob"}})
	if c, _ := identity.FromContext(inner); c.Subject != "bob" || audit.From(inner) != entry || obligation.From(inner).Redact {
		t.Errorf("%+v, %+v", c, obligation.From(inner))
	}
	if c, _ := identity.FromContext(ctx); c.Subject != "ada" {
		t.Errorf("who asks has become %+v", c)
	}
}

// Headers are set where the request can have them, and nowhere after that.
func TestHeadersOfNothing(t *testing.T) {
	if err := (headers{}).set(nil); err != nil {
		t.Error(err)
	}
	if err := unaryHeader(t.Context()).set(map[string][]string{"a": {"b"}}); err == nil {
		t.Error("a header is set outside of a call")
	}
}
