package respcache_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// keysOf is the tenant that has a key.
type keysOf string

func (k keysOf) List(_ context.Context, f apikey.Filter) ([]apikey.Record, error) {
	if f.Tenant != string(k) {
		return nil, nil
	}
	return []apikey.Record{{ID: "k", Tenant: f.Tenant}}, nil
}

// A purge of what is not known is done, and says so.
func TestAPurgeOfNothingSaysSo(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_900_000_000, 0))
	c := cache(t, clk, nil, nil)
	c.Purges = purges(t, clk, "sqlite:"+filepath.Join(t.TempDir(), "edge.db"))
	s := respcache.NewServer(respcache.ServerDeps{
		Cache: c, Keys: keysOf("acme"), Clock: clk, Model: func(tenant, name string) bool { return name == tenant+"-own" },
		Collection: func(_ context.Context, tenant, id string) bool { return id == tenant+"-own" },
	})
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "default", Subject: "ada"})
	for _, p := range []struct{ tenant, model, collection, want string }{
		{"", "", "", ""},
		{"default", "default-own", "default-own", ""},
		{"acme", "acme-own", "acme-own", ""},
		{"*", "default-own", "anybody's", ""},
		{"acne", "", "", `the tenant "acne" has no API key now`},
		{"acme", "smoll", "", `no model "smoll" now`},
		{"*", "smoll", "", `no model "smoll" now`},
		{"acme", "", "hamdbook", `the tenant "acme" has no collection "hamdbook" now`},
	} {
		_, err := s.PurgeCache(ctx, &edgev1.PurgeCacheRequest{Tenant: p.tenant + "\u0090", Model: p.model})
		if e := apierr.From(err); e == nil || e.Field != "tenant" {
			t.Errorf("%+v with a control character: %v", p, err)
		}
		got, err := s.PurgeCache(ctx, &edgev1.PurgeCacheRequest{Tenant: p.tenant, Model: p.model, Collection: p.collection})
		if err != nil || got.GetRevision() == 0 {
			t.Fatalf("%+v: %v, %v", p, got, err)
		}
		if w := strings.Join(got.GetWarnings(), "; "); (w == "") != (p.want == "") || !strings.Contains(w, p.want) {
			t.Errorf("%+v: %q", p, w)
		}
	}
}
