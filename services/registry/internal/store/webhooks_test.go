package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func (e *env) webhook(name string, events, models []string) *registryv1.Webhook {
	e.t.Helper()
	w, err := e.CreateWebhook(e.t.Context(), &registryv1.Webhook{
		Name: name, Url: "https://example.org/" + name, Events: events, Models: models, Active: true,
	}, "whsec_x")
	return must(e.t, w, err)
}

func (e *env) takeLease(holder string) store.Fence {
	e.t.Helper()
	seen, err := e.Lease(e.t.Context(), "webhooks")
	check(e.t, err)
	l, err := e.TakeLease(e.t.Context(), "webhooks", holder, seen)
	check(e.t, err)
	return store.Fence{Name: "webhooks", Token: l.Token}
}

func (e *env) deliveries(webhook string) []*registryv1.Delivery {
	e.t.Helper()
	list, err := e.ListDeliveries(e.t.Context(), webhook, 0, 0, 100)
	return must(e.t, list, err)
}

// next returns what a webhook is sent next; nil when nothing waits.
func (e *env) next(webhook string) *store.Message {
	e.t.Helper()
	list, err := e.NextMessages(e.t.Context())
	check(e.t, err)
	for _, m := range list {
		if m.Webhook == webhook {
			return &m
		}
	}
	return nil
}

func (s suite) webhooks(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	w := e.webhook("a", []string{"alias.*"}, []string{"m", "team-*"})
	got, err := e.GetWebhook(ctx, "a")
	check(t, err)
	if got.GetUrl() != "https://example.org/a" || !slices.Equal(got.GetEvents(), w.GetEvents()) || !got.GetActive() || got.GetEtag() == "" {
		t.Errorf("got %v", got)
	}
	_, err = e.CreateWebhook(ctx, &registryv1.Webhook{Name: "a", Url: "https://example.org"}, "x")
	wantReason(t, err, apierr.AlreadyExists, "name")
	_, err = e.UpdateWebhook(ctx, w, "", "stale")
	wantReason(t, err, apierr.Conflict, "etag")
	w.Active = false
	changed, err := e.UpdateWebhook(ctx, w, "", w.GetEtag())
	check(t, err)
	if changed.GetActive() || changed.GetEtag() == w.GetEtag() {
		t.Errorf("changed to %v", changed)
	}
	_, err = e.UpdateWebhook(ctx, &registryv1.Webhook{Name: "none"}, "", "*")
	wantReason(t, err, apierr.NotFound, "webhook")
	e.clock.Advance(time.Second)
	check(t, e.DeleteWebhook(ctx, "a", changed.GetEtag()))
	if again := e.webhook("a", nil, nil); again.GetEtag() == w.GetEtag() {
		t.Error("an etag was given twice")
	}
	if e.revision() != 0 {
		t.Error("a webhook took a revision")
	}
	for i := range store.MaxWebhooks - 1 {
		e.webhook(fmt.Sprintf("w%d", i), nil, nil)
	}
	_, err = e.CreateWebhook(ctx, &registryv1.Webhook{Name: "more"}, "x")
	wantReason(t, err, apierr.FailedPrecondition, "")
}

// What happens is noted for whom it concerns, with the change itself, and told in
// order; a try counts only for who holds the lease.
func (s suite) deliveryOrder(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepDeliveries: 2})
	ctx := t.Context()
	e.model("before")
	e.webhook("all", nil, nil)
	e.webhook("aliases", []string{"alias.*"}, []string{"team-*"})
	e.webhook("off", nil, nil)
	_, err := e.UpdateWebhook(ctx, &registryv1.Webhook{Name: "off", Url: "https://example.org"}, "", "*")
	check(t, err)
	e.model("team-a")
	e.version("team-a", 1)
	_, err = e.SetAlias(ctx, "default/ana", "team-a", "x", 1, "")
	check(t, err)
	_, err = e.SetAlias(ctx, "", "team-a", "x", 1, "") // refused
	wantReason(t, err, apierr.Conflict, "etag")
	if a := e.deliveries("aliases"); len(a) != 1 || a[0].GetEvent() != "alias.set" || a[0].GetRevision() != 4 {
		t.Errorf("noted for aliases: %v", a)
	}
	if len(e.deliveries("off")) != 0 || len(e.deliveries("all")) != 3 {
		t.Errorf("noted: off %v, all %v", e.deliveries("off"), e.deliveries("all"))
	}

	old := e.takeLease("one")
	f := e.takeLease("two")
	m := e.next("all")
	wantReason(t, e.Tried(ctx, old, *m, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DELIVERED}), apierr.Conflict, "lease")
	later := e.clock.Now().Add(time.Hour)
	check(t, e.Tried(ctx, f, *m, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_PENDING, Status: 503, Error: "away", Next: later}))
	if again := e.next("all"); again.Revision != 2 || again.ID != m.ID || again.Attempts != 1 || !again.Due.Equal(later) || again.Secret != "whsec_x" {
		t.Errorf("after a failure: %+v", again)
	}
	// Another address is tried at once, and what came of the old one counts no more.
	stale := e.next("all")
	_, err = e.UpdateWebhook(ctx, &registryv1.Webhook{Name: "all", Url: "https://example.net", Active: true}, "", "*")
	check(t, err)
	check(t, e.Tried(ctx, f, *stale, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DEAD}))
	if again := e.next("all"); again.Revision != 2 || again.Due.After(e.clock.Now()) || again.URL != "https://example.net" || again.Secret != "whsec_x" {
		t.Errorf("after a change: %+v", again)
	}
	for want := int64(2); want <= 4; want++ {
		m := e.next("all")
		if m.Revision != want {
			t.Fatalf("next is %d, want %d", m.Revision, want)
		}
		check(t, e.Tried(ctx, f, *m, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DELIVERED, Status: 204}))
	}
	if e.next("all") != nil || len(e.deliveries("all")) != 2 {
		t.Errorf("left: %v", e.deliveries("all"))
	}
	w, err := e.GetWebhook(ctx, "all")
	check(t, err)
	if w.GetPending() != 0 {
		t.Errorf("%d wait", w.GetPending())
	}
	changes, err := e.ListChanges(ctx, "team-a", 0, 10)
	check(t, err)
	if len(changes) != 3 || changes[0].GetEvent() != "alias.set" || changes[0].GetActor() != "default/ana" {
		t.Errorf("changes %v", changes)
	}
}

// What is given up stays, can be sent again, and keeps its id; a receiver that is
// gone is asked no more; and what waits is bounded.
func (s suite) deadLetters(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{MaxPending: 3})
	ctx := t.Context()
	e.webhook("a", nil, nil)
	for i := range 5 {
		e.model(fmt.Sprintf("m%d", i))
	}
	w, err := e.GetWebhook(ctx, "a")
	check(t, err)
	if w.GetPending() != 3 || w.GetMissed() != 2 {
		t.Errorf("waits %d, missed %d", w.GetPending(), w.GetMissed())
	}
	f := e.takeLease("one")
	first := e.next("a")
	check(t, e.Tried(ctx, f, *first, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DEAD, Error: "away"}))
	if e.next("a").Revision != 2 {
		t.Error("what is given up holds up the rest")
	}
	check(t, e.Tried(ctx, f, *e.next("a"), store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DEAD, Status: 410, Error: "gone", Gone: true}))
	if w, err = e.GetWebhook(ctx, "a"); err != nil || w.GetActive() || w.GetDead() != 2 || w.GetPending() != 1 || e.next("a") != nil {
		t.Errorf("a receiver that is gone: %v, %v", w, err)
	}
	n, err := e.Redeliver(ctx, "a", 0)
	if err != nil || n != 2 {
		t.Fatalf("%d again, %v", n, err)
	}
	w.Active = true
	_, err = e.UpdateWebhook(ctx, w, "", "*")
	check(t, err)
	if m := e.next("a"); m.ID != first.ID || m.Attempts != 0 {
		t.Errorf("again: %+v", m)
	}
	before, err := e.GetWebhook(ctx, "a")
	check(t, err)
	check(t, e.Tried(ctx, f, *e.next("a"), store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_PENDING, Error: "away", Next: first.Time.Add(6 * time.Hour)}))
	if m := e.next("a"); !m.Due.Equal(first.Time.Add(6 * time.Hour)) {
		t.Fatalf("the pause is not kept: %+v", m)
	}
	if n, err = e.Redeliver(ctx, "a", first.Revision); err != nil || n != 1 {
		t.Fatalf("one that waits: %d again, %v", n, err)
	}
	if m := e.next("a"); m == nil || m.ID != first.ID || m.Attempts != 0 || !m.Due.Before(first.Time.Add(time.Hour)) {
		t.Errorf("one that waits is not tried at once: %+v", m)
	}
	if w, err = e.GetWebhook(ctx, "a"); err != nil || w.GetPending() != before.GetPending() {
		t.Errorf("%d wait, %d before, %v", w.GetPending(), before.GetPending(), err)
	}
	_, err = e.Redeliver(ctx, "a", 99)
	wantReason(t, err, apierr.NotFound, "delivery")
	check(t, e.DeleteWebhook(ctx, "a", "*"))
	check(t, e.Tried(ctx, f, *first, store.Outcome{State: registryv1.DeliveryState_DELIVERY_STATE_DELIVERED}))
	_, err = e.ListDeliveries(ctx, "a", 0, 0, 10)
	wantReason(t, err, apierr.NotFound, "webhook")
}
