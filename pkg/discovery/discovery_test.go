package discovery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/lifecycle"
)

func instance(id, addr string) discovery.Instance {
	return discovery.Instance{ID: id, Service: "inference", Addr: addr}
}

func addrs(set []discovery.Instance) string {
	out := make([]string, len(set))
	for i, s := range set {
		out[i] = s.ID + "=" + s.Addr
	}
	return strings.Join(out, " ")
}

func TestMemoryDeliversThePresentSetAndChanges(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := discovery.NewStatic(map[string][]string{"inference": {"h:1", "h:2"}})
	ch := m.Watch(ctx, "inference")
	if got := addrs(<-ch); got != "inference-1=h:1 inference-2=h:2" {
		t.Fatalf("the present set: %s", got)
	}
	if got := <-m.Watch(ctx, "unknown"); len(got) != 0 {
		t.Fatalf("an unknown service: %v", got)
	}
	// A slow reader sees the newest set only.
	m.Set("inference", []discovery.Instance{instance("b", "h:3")})
	m.Set("inference", []discovery.Instance{instance("b", "h:3"), instance("a", "h:4")})
	if got := addrs(<-ch); got != "a=h:4 b=h:3" {
		t.Fatalf("after two changes: %s", got)
	}
	m.Set("inference", []discovery.Instance{instance("a", "h:4"), instance("b", "h:3")})
	select {
	case got := <-ch:
		t.Fatalf("the same set was delivered again: %v", got)
	default:
	}
	cancel()
	if _, open := <-ch; open {
		t.Fatal("the channel must close with the context")
	}
	m.Set("inference", nil) // must not send on a closed channel
}

func TestMemoryRegisters(t *testing.T) {
	m := discovery.NewMemory()
	ch := m.Watch(t.Context(), "inference")
	<-ch
	for _, addr := range []string{"h:1", "h:2"} { // the second replaces the first
		if err := m.Register(t.Context(), discovery.Registration{Instance: instance("a", addr)}); err != nil {
			t.Fatal(err)
		}
		if got := addrs(<-ch); got != "a="+addr {
			t.Fatalf("registered: %s", got)
		}
	}
	for range 2 {
		if err := m.Deregister(t.Context(), "inference", "a"); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-ch; len(got) != 0 {
		t.Fatalf("deregistered: %v", got)
	}
	for _, bad := range []discovery.Instance{instance("", "h:1"), instance("a", "h"), instance("a", "h:0"), {ID: "a", Addr: "h:1"}} {
		if err := m.Register(t.Context(), discovery.Registration{Instance: bad}); err == nil {
			t.Errorf("%+v was registered", bad)
		}
	}
}

// registrar notes what is asked of it.
type registrar struct {
	log []string
	err error
	ctx context.Context
}

func (r *registrar) Register(ctx context.Context, reg discovery.Registration) error {
	r.log, r.ctx = append(r.log, "register "+reg.ID), ctx
	return r.err
}

func (r *registrar) Deregister(_ context.Context, _, id string) error {
	r.log = append(r.log, "deregister "+id)
	return r.err
}

func TestComponentDeregistersBeforeTheRestDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &registrar{err: errors.New("consul is away")}
		told := 0
		ctx, cancel := context.WithCancel(t.Context())
		go func() { synctest.Wait(); cancel() }()
		err := lifecycle.Run(ctx, lifecycle.Options{},
			lifecycle.Component{Name: "server", Drain: func(context.Context) error { r.log = append(r.log, "drain"); return nil }},
			discovery.Component(r, func() discovery.Registration {
				return discovery.Registration{Instance: instance("a", "h:1")}
			}, func(error) { told++ }))
		if err != nil {
			t.Fatalf("a registry that is away must not fail the process: %v", err)
		}
		if got := strings.Join(r.log, ", "); got != "register a, deregister a, drain" || told != 2 {
			t.Fatalf("%s; told %d times", got, told)
		}
		if r.ctx.Err() == nil {
			t.Fatal("what keeps the registration must end with the process")
		}
	})
}
