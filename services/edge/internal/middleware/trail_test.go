package middleware

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

// Whatever is asked leaves a record, whether it is let through or not.
func TestEveryMethodLeavesARecord(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Address.RequestsPerMinute = 0
	g := newGate(t, cfg, nil)
	table := authz.Table()
	call := func(method, token string) {
		ctx := clientaddr.NewContext(t.Context(), netip.MustParseAddr("192.0.2.7"))
		if token != "" {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(authn.Header, "Bearer "+token))
		}
		ctx = grpc.NewContextWithServerTransportStream(ctx, &visit{Visitor{Method: method, SetHeader: func(metadata.MD) {}}})
		_, _ = g.chain.Unary()(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) { return nil, nil })
	}
	methods := slices.Sorted(maps.Keys(table))
	for _, method := range methods {
		if table[method].Access == authz.Public {
			continue
		}
		for token, want := range map[string]string{"": audit.Refused, "wrong": audit.Refused, "none": audit.Refused, "root": ""} {
			before := len(g.records(t))
			call(method, token)
			got := g.records(t)[before:]
			if len(got) != 1 || got[0].Method != method {
				t.Errorf("%s with %q: %d records", method, token, len(got))
				continue
			}
			if token == "none" && strings.Contains(table[method].Action, "-own") {
				continue // everybody may end their own sessions
			}
			if want != "" && got[0].Decision != want {
				t.Errorf("%s with %q: %s", method, token, got[0].Decision)
			}
		}
	}
}

// What administrators change is in the trail before it is done.
func TestEveryAdministrativeChangeIsBegun(t *testing.T) {
	s := newSteps(Deps{})
	for method, m := range s.Methods {
		if m.Access == authz.Checked && m.Type == "api-key" && m.Action != "get" && m.Action != "list" && !changes(method, s.Classes[method]) {
			t.Errorf("%s is no change", method)
		}
	}
}

// What detectors block in a handler was refused like what the chain did not let
// through; what failed behind the gateway was not.
func TestBlockedContentIsRecordedAsRefused(t *testing.T) {
	for reason, want := range map[apierr.Reason]string{apierr.ContentBlocked: audit.Refused, apierr.Unavailable: audit.Allowed} {
		g := newGate(t, DefaultConfig(), func(context.Context, any) error { return apierr.New(reason, "no") })
		if _, err := g.openai.CreateChatCompletion(as(t.Context(), "dev"), chat()); apierr.ReasonOf(err) != reason {
			t.Fatalf("%s: %v", reason, err)
		}
		if recs := g.records(t); recs[len(recs)-1].Decision != want {
			t.Errorf("%s is recorded as %s", reason, recs[len(recs)-1].Decision)
		}
	}
}
