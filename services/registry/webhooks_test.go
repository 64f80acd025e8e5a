package registry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/standardwebhook"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// received is a message as a receiver sees it.
type received struct {
	id, body string
	signed   bool
}

// receive serves a receiver on loopback, which answers status.
func receive(t *testing.T, status func() int) (url string, got <-chan received) {
	t.Helper()
	out := make(chan received, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		key, err := standardwebhook.ParseSecret(webhookSecret)
		if err != nil {
			t.Error(err)
		}
		seconds, err := strconv.ParseInt(r.Header.Get(standardwebhook.HeaderTimestamp), 10, 64)
		if err != nil {
			t.Error(err)
		}
		id := r.Header.Get(standardwebhook.HeaderID)
		w.WriteHeader(status())
		out <- received{id, string(body), r.Header.Get(standardwebhook.HeaderSignature) == standardwebhook.Sign(key, id, time.Unix(seconds, 0), body)}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, out
}

// Changes reach a receiver on loopback, signed and in order, and again when it asks.
func TestWebhook(t *testing.T) {
	r, ctx := start(t, func(c *registry.Config) { c.Webhooks.AllowAddresses = []string{"127.0.0.0/8", "::1/128"} }), t.Context()
	url, got := receive(t, func() int { return http.StatusNoContent })
	made, err := r.CreateWebhook(ctx, &registryv1.CreateWebhookRequest{Name: "ci", Url: url, Secret: webhookSecret, Events: []string{"model.*", "version.created"}})
	fatal(t, err)
	if strings.Contains(made.String(), "MfKQ") {
		t.Errorf("the secret is given back: %v", made)
	}
	_, err = r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	_, err = r.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: 1}) // not asked for
	fatal(t, err)
	first, second := <-got, <-got
	if !first.signed || !second.signed || first.id != "msg_ci_1" || second.id != "msg_ci_2" ||
		!strings.Contains(first.body, `"type":"model.created"`) || !strings.Contains(second.body, `"data":{"revision":2,"model":"m"}`) {
		t.Errorf("received %+v and %+v", first, second)
	}
	eventually(t, func() bool {
		list, err := r.ListDeliveries(ctx, &registryv1.ListDeliveriesRequest{Webhook: "ci", State: registryv1.DeliveryState_DELIVERY_STATE_DELIVERED})
		fatal(t, err)
		return len(list.GetDeliveries()) == 2
	})
	_, err = r.Redeliver(ctx, &registryv1.RedeliverRequest{Webhook: "ci", Delivery: "msg_other_1"})
	wantError(t, err, apierr.InvalidArgument, "delivery")
	n, err := r.Redeliver(ctx, &registryv1.RedeliverRequest{Webhook: "ci", Delivery: first.id})
	fatal(t, err)
	if again := <-got; n.GetCount() != 1 || again.id != first.id || again.body != first.body {
		t.Errorf("again: %+v", again)
	}
}

// What is on a network of its own is not reached unless the configuration says so,
// and a receiver that fails is said to have.
func TestWebhookIsRefusedPrivateAddresses(t *testing.T) {
	r, ctx := start(t, func(c *registry.Config) { c.Webhooks.Attempts = 1 }), t.Context()
	var asked atomic.Bool
	url, _ := receive(t, func() int { asked.Store(true); return http.StatusOK })
	_, err := r.CreateWebhook(ctx, &registryv1.CreateWebhookRequest{Name: "ci", Url: url, Secret: webhookSecret})
	fatal(t, err)
	_, err = r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	var list *registryv1.ListDeliveriesResponse
	eventually(t, func() bool {
		list, err = r.ListDeliveries(ctx, &registryv1.ListDeliveriesRequest{Webhook: "ci", State: registryv1.DeliveryState_DELIVERY_STATE_DEAD})
		fatal(t, err)
		return len(list.GetDeliveries()) == 1
	})
	if asked.Load() || !strings.Contains(list.GetDeliveries()[0].GetLastError(), "not one that webhooks are sent to") {
		t.Errorf("asked: %t; %v", asked.Load(), list)
	}
	for name, req := range map[string]*registryv1.CreateWebhookRequest{
		"secret": {Name: "x", Url: url, Secret: "hunter2"},
		"url":    {Name: "x", Url: "https://ana:hunter2@example.org", Secret: webhookSecret},
		"name":   {Name: "X", Url: url, Secret: webhookSecret},
	} {
		_, err := r.CreateWebhook(ctx, req)
		wantError(t, err, apierr.InvalidArgument, name)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

func TestResolveVersion(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	before, err := r.ResolveVersion(ctx, &registryv1.ResolveVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	_, err = r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	v, err := r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	after, err := r.ResolveVersion(ctx, &registryv1.ResolveVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	if before.GetVersion() != nil || before.GetDigest() != v.GetVersion().GetDigest() || after.GetVersion().GetNumber() != 1 {
		t.Errorf("before %v, after %v", before, after)
	}
	changes, err := r.ListChanges(ctx, &registryv1.ListChangesRequest{Model: "m", PageSize: 1})
	fatal(t, err)
	if len(changes.GetChanges()) != 1 || changes.GetChanges()[0].GetEvent() != "version.created" || changes.GetNextPageToken() == "" {
		t.Errorf("changes %v", changes)
	}
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !holds(); {
		select {
		case <-deadline:
			t.Fatal("it does not come about")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Of two replicas on one database one delivers: every change is told once, whoever
// made it, and in order.
func TestOneReplicaDelivers(t *testing.T) {
	dsn := config.SecretURL("sqlite://" + filepath.Join(t.TempDir(), "registry.db"))
	on := func(c *registry.Config) {
		c.Store.DSN, c.Webhooks.AllowAddresses, c.Webhooks.LeaseBeat = dsn, []string{"127.0.0.0/8", "::1/128"}, time.Second
		c.Watch.PollInterval = 20 * time.Millisecond
	}
	a, b := start(t, on), start(t, on)
	url, got := receive(t, func() int { return http.StatusOK })
	_, err := a.CreateWebhook(t.Context(), &registryv1.CreateWebhookRequest{Name: "ci", Url: url, Secret: webhookSecret})
	fatal(t, err)
	const each = 5
	for i := range each {
		for _, r := range []*rig{a, b} {
			_, err := r.CreateModel(t.Context(), &registryv1.CreateModelRequest{Name: "m" + strconv.Itoa(i) + r.name(a)})
			fatal(t, err)
		}
	}
	for want := 1; want <= 2*each; want++ {
		if m := <-got; m.id != "msg_ci_"+strconv.Itoa(want) {
			t.Errorf("message %d is %s", want, m.id)
		}
	}
	eventually(t, func() bool {
		w, err := b.GetWebhook(t.Context(), &registryv1.GetWebhookRequest{Webhook: "ci"})
		fatal(t, err)
		return w.GetWebhook().GetPending() == 0
	})
	if len(got) != 0 {
		t.Errorf("%d messages came twice", len(got))
	}
}

// name tells a rig from another.
func (r *rig) name(other *rig) string {
	if r == other {
		return "a"
	}
	return "b"
}
