package webhook

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/standardwebhook"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

// rotated has both secrets sign for a while, whoever delivers, and then the new one
// alone.
func rotated(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	s := NewServer(ServerDeps{Store: one.store, Sender: one.sender, Clock: c, IDs: ids.Sequence("hook"), Log: slog.New(slog.DiscardHandler)})
	ctx := identity.NewContext(t.Context(), identity.NewCaller("acme", "ana", nil, nil))
	r := receive(t, c)
	set := func(rotate bool, overlap *durationpb.Duration) (*edgev1.Webhook, envelope.Key) {
		t.Helper()
		got, err := s.SetWebhook(ctx, &edgev1.SetWebhookRequest{
			Id: "ops", Webhook: &edgev1.Webhook{Url: r.URL, Events: []string{BudgetExhausted}}, RotateSecret: rotate, Overlap: overlap,
		})
		if err != nil {
			t.Fatal(err)
		}
		var k envelope.Key
		if got.GetSecret() != "" {
			raw, err := standardwebhook.ParseSecret(got.GetSecret())
			if err != nil {
				t.Fatal(err)
			}
			copy(k[:], raw)
		}
		return got.GetWebhook(), k
	}
	_, err := s.SetWebhook(ctx, &edgev1.SetWebhookRequest{Id: "ops", Webhook: &edgev1.Webhook{Url: r.URL, Events: []string{BudgetExhausted}, Tenant: "globex"}})
	if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "webhook.tenant" {
		t.Errorf("another tenant's: %v", err)
	}
	n := 0
	// told has the hook be told an event, whose receiver knows one secret.
	told := func(what string, secret envelope.Key, signatures int) {
		t.Helper()
		n++
		r.mu.Lock()
		r.secret, r.exact = secret, signatures == 1
		r.mu.Unlock()
		name := fmt.Sprint("b", n)
		one.settle(name, one.budget(name, 10), 10)
		two.deliver()
		expect(t, what, r.told(), "budget.exhausted 100")
		if r.signatures != signatures {
			t.Errorf("%s: %d signatures, want %d", what, r.signatures, signatures)
		}
	}
	h, first := set(false, nil)
	if h.GetPreviousSecretExpireTime() != nil {
		t.Errorf("made with %v", h)
	}
	told("as made", first, 1)
	h, second := set(true, durationpb.New(time.Hour))
	if got := h.GetPreviousSecretExpireTime().AsTime(); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("both sign until %v", got)
	}
	told("who knows the secret before", first, 2)
	told("who knows the new one", second, 2)
	if h, _ := set(false, nil); h.GetPreviousSecretExpireTime() == nil {
		t.Error("a change of something else ends the secret before")
	}
	c.Advance(time.Hour - time.Microsecond)
	told("until the end", first, 2)
	c.Advance(time.Microsecond)
	told("after it", second, 1)
	if h, _ := set(false, nil); h.GetPreviousSecretExpireTime() != nil {
		t.Errorf("after it: %v", h)
	}
	h, third := set(true, nil)
	if got := h.GetPreviousSecretExpireTime().AsTime(); !got.Equal(c.Now().Add(DefaultConfig().SecretOverlap)) {
		t.Errorf("by default both sign until %v", got)
	}
	told("by default", second, 2)
	_, fourth := set(true, durationpb.New(0))
	told("at once", fourth, 1)
	if first == second || second == third || third == fourth {
		t.Error("a secret is given twice")
	}
	kept, err := one.store.Get(t.Context(), "acme", "ops")
	if err != nil || kept.PreviousSecret != "" || strings.Contains(fmt.Sprintf("%v", kept), standardwebhook.FormatSecret(fourth[:])) {
		t.Errorf("%+v, %v", kept, err)
	}
	// Neither opens for another webhook, nor by a key that is not configured.
	set(true, nil)
	kept, err = one.store.Get(t.Context(), "acme", "ops")
	if err != nil {
		t.Fatal(err)
	}
	kept.PreviousMaster = "gone"
	if keys, err := kept.open(one.sender.masters, c.Now()); err != nil || len(keys) != 1 {
		t.Errorf("with a key that is gone: %d, %v", len(keys), err)
	}
	kept.UID = "another"
	if _, err := kept.open(one.sender.masters, c.Now()); err == nil {
		t.Error("it opens for another webhook")
	}
}
