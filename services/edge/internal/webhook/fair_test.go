package webhook

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// events notes so many events of a tenant, each a second after the one before.
func (e *edge) events(tenant string, n int) {
	e.t.Helper()
	err := e.db.InTx(e.t.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for i := range n {
			id := fmt.Sprintf("evt_%s_%06d_%03d", tenant, e.clock.Now().Unix()%1_000_000, i)
			if err := note(ctx, tx, Event{ID: id, Key: id, Tenant: tenant, Type: Test, Body: `{"type":"webhook.test"}`, Time: e.clock.Now().Add(-time.Duration(n-i-1) * time.Second)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// slowServer never answers before it is released.
func slowServer(t *testing.T) (s *httptest.Server, called *atomic.Int32, release func()) {
	t.Helper()
	called = new(atomic.Int32)
	held := make(chan struct{})
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		called.Add(1)
		<-held
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	return s, called, func() { close(held) }
}

func slowTenant(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	e := newEdge(t, dsn, "one", c, testConfig())
	slow, called, release := slowServer(t)
	for n := range MaxPerTenant {
		e.hook("acme", fmt.Sprint("slow", n), slow.URL)
	}
	told := make(chan struct{}, 1)
	quick := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { told <- struct{}{} }))
	t.Cleanup(quick.Close)
	h, _ := e.hook("other", "ops", quick.URL)
	c.Advance(time.Hour)
	e.events("acme", 40) // 640 deliveries
	c.Advance(time.Second)
	e.events("other", 1)
	list, err := e.store.Due(t.Context(), c.Now(), ofTenant, dueAtOnce)
	if err != nil || len(list) != ofTenant+1 || list[1].hook.UID != h.UID {
		t.Errorf("due: %d, %v", len(list), err)
	}
	for range 3 {
		if err := e.deliverer.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-told:
	case <-time.After(20 * time.Second):
		t.Error("the other tenant is told nothing")
	}
	release()
	e.deliverer.Wait()
	if n := called.Load(); n != ofTenant {
		t.Errorf("%d deliveries of one tenant were under way, want %d", n, ofTenant)
	}
	if len(e.deliverer.held) != 0 || len(e.deliverer.busy) != 0 {
		t.Errorf("places are left taken: %v", e.deliverer.held)
	}
}

func deadReceiver(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	r := receive(t, c)
	var h Hook
	h, r.secret = one.hook("acme", "ops", r.URL)
	r.answer(http.StatusInternalServerError)
	c.Advance(time.Hour)
	one.events("acme", 50)
	var at []time.Duration
	for begin := c.Now(); c.Now().Sub(begin) < 120*time.Second; c.Advance(time.Second) {
		for range 3 {
			one.deliver()
			two.deliver()
		}
		for range r.told() {
			at = append(at, c.Now().Sub(begin))
		}
	}
	if fmt.Sprint(at) != "[0s 5s 25s 1m45s]" {
		t.Errorf("attempts at %v", at)
	}
	list, err := one.store.Deliveries(t.Context(), h.UID, Pending, 100)
	if err != nil || len(list) != 50 || !list[0].NextTime.Equal(noon.Add(time.Hour+105*time.Second+320*time.Second)) {
		t.Errorf("%d wait until %v: %v", len(list), list[0].NextTime, err)
	}
	// It is back: an answer that is good ends the wait for all, who changes it does at once.
	r.answer(http.StatusOK)
	two.deliver()
	expect(t, "while it is left alone", r.told())
	if err := one.store.Put(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		two.deliver()
	}
	if n := len(r.told()); n < 46 {
		t.Errorf("told %d when it is back", n)
	}
	c.Advance(2 * time.Minute)
	one.deliver()
	if list, err := one.store.Deliveries(t.Context(), h.UID, Delivered, 100); err != nil || len(list) != 50 {
		t.Errorf("%d are told, %v", len(list), err)
	}
}

func poison(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	e := newEdge(t, dsn, "one", c, testConfig())
	var told, refused atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("webhook-id"), "_000") { // the first one
			refused.Add(1)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		told.Add(1)
	}))
	t.Cleanup(s.Close)
	h, _ := e.hook("acme", "ops", s.URL)
	c.Advance(time.Hour)
	e.events("acme", 10)
	for range 6 {
		e.deliver()
		c.Advance(time.Second)
	}
	if told.Load() != 9 {
		t.Errorf("told %d of the others", told.Load())
	}
	for range 200 {
		c.Advance(time.Second)
		e.deliver()
	}
	if dead, err := e.store.Deliveries(t.Context(), h.UID, Dead, 9); err != nil || len(dead) != 1 || refused.Load() != 4 {
		t.Errorf("tried %d times: %+v, %v", refused.Load(), dead, err)
	}
}

func tooLong(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	e := newEdge(t, dsn, "one", c, testConfig())
	h, _ := e.hook("acme", "ops", "http://127.0.0.1:1/")
	e.events("acme", 1)
	c.Advance(kept)
	for after, want := range []string{Pending, Dead} {
		c.Advance(time.Duration(after) * time.Second)
		if err := e.store.Prune(t.Context(), c.Now().Add(-kept), c.Now()); err != nil {
			t.Fatal(err)
		}
		if list, err := e.store.Deliveries(t.Context(), h.UID, "", 9); err != nil || len(list) != 1 || list[0].State != want {
			t.Errorf("%+v, %v", list, err)
		}
	}
}
