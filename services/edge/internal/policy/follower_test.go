package policy

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

// source is a store's states in memory.
type source struct {
	revision int64
	changes  []Change
	away     error
}

func (s *source) Revision(context.Context) (int64, error) { return s.revision, s.away }

func (s *source) Changes(_ context.Context, after int64, limit int) ([]Change, error) {
	var out []Change
	for _, c := range s.changes {
		if c.Revision > after && len(out) < limit {
			out = append(out, c)
		}
	}
	return out, s.away
}

// put has a tenant's text in force.
func (s *source) put(tenant string, version int64, text string) {
	s.revision++
	var kept []Change
	for _, c := range s.changes {
		if c.Tenant != tenant {
			kept = append(kept, c)
		}
	}
	kept = append(kept, Change{State: State{Tenant: tenant, Version: version, ETag: s.revision, Revision: s.revision}, Text: text})
	s.changes = kept
}

const (
	closed = `{"rules":[{"id":"closed","subject":"public","scope":"own","type":"model","effect":"deny"}]}`
	newer  = `{"rules":[],"sorcery":true}`
)

type replica struct {
	*Follower
	authorizer *authz.Authorizer
	problems   map[string]string
}

func follow(t *testing.T, s Source) (*replica, error) {
	t.Helper()
	p, err := authz.DefaultPolicy()
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	r := new(replica)
	if r.authorizer, err = authz.New(authz.DefaultConfig(), p, log); err != nil {
		t.Fatal(err)
	}
	c := clock.NewFake(time.Unix(0, 0))
	r.Follower, err = NewFollower(t.Context(), FollowerDeps{
		Space: Space{Platform: "default", Base: r.authorizer.Base()}, Source: s, Target: r.authorizer, Clock: c, Interval: time.Second, Log: log,
		Trial: NewTrial("default", c, func(context.Context, string) {}), Report: func(problems map[string]string) { r.problems = problems },
	})
	return r, err
}

func (r *replica) open(t *testing.T, tenant string) bool {
	t.Helper()
	return r.authorizer.Allowed(t.Context(), identity.NewCaller(tenant, "ada", []string{"reader"}, nil), "chat", authz.Resource{Type: "model", ID: "m", Tenant: tenant})
}

func TestFollow(t *testing.T) {
	s := new(source)
	r, err := follow(t, s)
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, acme, globex bool) {
		t.Helper()
		if err := r.Follow(t.Context()); err != nil && s.away == nil {
			t.Fatal(err)
		}
		if r.open(t, "acme") != acme || r.open(t, "globex") != globex {
			t.Errorf("%s: acme %v, globex %v", what, r.open(t, "acme"), r.open(t, "globex"))
		}
	}
	step("nothing", true, true)
	s.put("acme", 1, closed)
	step("acme's", false, true)
	s.put("globex", 1, closed)
	s.put("acme", 0, "")
	step("two at once", true, false)
	s.put("acme", 2, closed)
	s.away = errors.New("away")
	step("the store is away", true, false)
	s.away = nil
	step("it is back", false, false)
	s.put("acme", 3, newer)
	step("one that cannot be loaded", false, false)
	if !strings.Contains(r.problems["acme"], "version 3") || r.Problem("acme") == "" {
		t.Errorf("the problem is told as %q", r.problems)
	}
	if v := r.authorizer.Current().Version("acme"); !strings.HasSuffix(v, "+acme@2") {
		t.Errorf("decided by %s", v)
	}
	s.put("acme", 4, `{}`)
	step("one that can", true, false)
	if len(r.problems) != 0 {
		t.Errorf("the problem stays: %v", r.problems)
	}
	s.revision, s.changes = 1, nil
	step("another store", true, true)
}

// TestStartWithoutAPolicyThatLoads: with nothing to go on with, nothing is let
// through.
func TestStartWithoutAPolicyThatLoads(t *testing.T) {
	s := new(source)
	s.put("acme", 1, newer)
	r, err := follow(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if r.open(t, "acme") || !r.open(t, "globex") {
		t.Errorf("acme %v, globex %v", r.open(t, "acme"), r.open(t, "globex"))
	}
	s.put("default", 1, newer)
	if _, err := follow(t, s); err == nil {
		t.Error("it starts without the platform's policy")
	}
}
