package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
)

var errSome = errors.New("some error")

// agent is as much of a Consul agent as is asked for here.
type agent struct {
	mu       sync.Mutex
	index    uint64
	services map[string]string // id → host
	changed  chan struct{}
	broken   bool
	asked    []string      // index= of each query
	calls    chan string   // every call to the agent's own API
	waiting  chan struct{} // a query began to wait
}

func newAgent(t *testing.T) (*agent, *Consul, *clock.Fake) {
	t.Helper()
	a := &agent{index: 10, services: map[string]string{}, changed: make(chan struct{}), calls: make(chan string, 100), waiting: make(chan struct{}, 100)}
	srv := httptest.NewServer(a)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	cfg := DefaultConfig()
	cfg.Addr, cfg.Grace, cfg.TTL = srv.URL, 10*time.Second, 6*time.Second
	fake := clock.NewFake(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c, err := New(cfg, fake, slog.New(slog.DiscardHandler), WithJitter(func() float64 { return 1 }))
	if err != nil {
		t.Fatal(err)
	}
	return a, c, fake
}

// change changes the agent's state and wakes whoever waits.
func (a *agent) change(fn func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	fn()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/agent/") {
		a.own(w, r)
		return
	}
	index := r.URL.Query().Get("index")
	a.mu.Lock()
	a.asked = append(a.asked, index)
	wait, broken := index == fmt.Sprint(a.index), a.broken
	changed := a.changed
	a.mu.Unlock()
	if wait && !broken {
		a.waiting <- struct{}{}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken {
		http.Error(w, "No cluster leader", http.StatusInternalServerError)
		return
	}
	type service struct {
		ID, Address string
		Port        int
	}
	type entry struct{ Service service }
	var out []entry
	for id, host := range a.services {
		out = append(out, entry{service{id, host, 9000}})
	}
	w.Header().Set("X-Consul-Index", fmt.Sprint(a.index))
	_ = json.NewEncoder(w).Encode(out)
}

func (a *agent) own(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	call := strings.TrimPrefix(r.URL.Path, "/v1/agent/")
	defer func() { a.calls <- call }()
	if a.broken {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	switch {
	case call == "service/register":
		var s struct{ ID, Name, Address string }
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.services[s.ID] = s.Address
	case strings.HasPrefix(call, "check/update/ttl:"):
		if _, ok := a.services[strings.TrimPrefix(call, "check/update/ttl:")]; !ok {
			http.Error(w, "Unknown check ID", http.StatusNotFound)
		}
	case strings.HasPrefix(call, "service/deregister/"):
		id := strings.TrimPrefix(call, "service/deregister/")
		if _, ok := a.services[id]; !ok {
			http.Error(w, "Unknown service ID", http.StatusNotFound)
		}
		delete(a.services, id)
	}
}

func TestWatchFollowsChangesAndOutages(t *testing.T) {
	a, c, fake := newAgent(t)
	a.services = map[string]string{"a": "h1", "b": "h2"}
	ctx, cancel := context.WithCancel(t.Context())
	ch := c.Watch(ctx, "inference")
	if got := <-ch; ids(got) != "ab" || got[0].Addr != "h1:9000" || got[0].Service != "inference" {
		t.Fatalf("the present set: %+v", got)
	}
	<-a.waiting
	a.change(func() { a.services["c"] = "h3" })
	if got := <-ch; ids(got) != "abc" {
		t.Fatalf("after a change: %s", ids(got))
	}
	<-a.waiting
	// Consul fails, and comes back having forgotten all but one.
	a.change(func() { a.broken = true })
	if err := fake.BlockUntil(ctx, 1); err != nil { // it pauses
		t.Fatal(err)
	}
	a.change(func() { a.broken, a.services, a.index = false, map[string]string{"d": "h4"}, 2 })
	fake.Advance(c.cfg.BackoffBase)
	if got := <-ch; ids(got) != "abcd" {
		t.Fatalf("in the grace: %s", ids(got))
	}
	<-a.waiting
	if err := fake.BlockUntil(ctx, 1); err != nil { // the end of the grace
		t.Fatal(err)
	}
	fake.Advance(c.cfg.Grace)
	if got := <-ch; ids(got) != "d" {
		t.Fatalf("after the grace: %s", ids(got))
	}
	cancel()
	if _, open := <-ch; open {
		t.Fatal("the channel must close with the context")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := strings.Join(a.asked, ","); got != ",10,11,,2" {
		t.Fatalf("indexes asked for: %s", got)
	}
}

func TestRegistrationIsKept(t *testing.T) {
	a, c, fake := newAgent(t)
	reg := discovery.Registration{Instance: discovery.Instance{ID: "i1", Service: "inference", Addr: "h:9000"}}
	want := func(calls ...string) {
		t.Helper()
		for _, w := range calls {
			if got := <-a.calls; got != w {
				t.Fatalf("called %s, want %s", got, w)
			}
		}
	}
	third := func() {
		t.Helper()
		if err := fake.BlockUntil(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		fake.Advance(c.cfg.TTL / 3)
	}
	if err := c.Register(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	want("service/register")
	third()
	want("check/update/ttl:i1")
	a.change(func() { a.services = map[string]string{} }) // Consul has lost it
	third()
	want("check/update/ttl:i1", "service/register")
	third()
	want("check/update/ttl:i1")
	if err := c.Deregister(t.Context(), "inference", "i1"); err != nil {
		t.Fatal(err)
	}
	want("service/deregister/i1")
	if err := c.Deregister(t.Context(), "inference", "i1"); err != nil {
		t.Fatalf("twice: %v", err)
	}
	want("service/deregister/i1")
}

func TestRegistrationGoesOnTrying(t *testing.T) {
	a, c, fake := newAgent(t)
	a.broken = true
	reg := discovery.Registration{Instance: discovery.Instance{ID: "i1", Service: "inference", Addr: "h:9000"}}
	if err := c.Register(t.Context(), reg); err == nil {
		t.Fatal("the first failure must be told")
	}
	<-a.calls
	for _, pause := range []time.Duration{c.cfg.BackoffBase, 2 * c.cfg.BackoffBase} {
		if err := fake.BlockUntil(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		fake.Advance(pause)
		if got := <-a.calls; got != "service/register" {
			t.Fatalf("called %s", got)
		}
	}
	a.change(func() { a.broken = false })
	if err := fake.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	fake.Advance(c.cfg.BackoffMax)
	if got := <-a.calls; got != "service/register" {
		t.Fatalf("called %s", got)
	}
	if err := c.Deregister(t.Context(), "inference", "i1"); err != nil {
		t.Fatal(err)
	}
}

func TestConfigValidate(t *testing.T) {
	var p config.Problems
	DefaultConfig().Validate(&p, "consul")
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	Config{Grace: -1}.Validate(&p, "consul")
	if err := p.Err(); err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Fatalf("Validate = %v", err)
	}
}
