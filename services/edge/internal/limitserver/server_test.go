package limitserver

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func open(t *testing.T) *Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig("sqlite:"+filepath.Join(t.TempDir(), "edge.db")), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c := clock.NewFake(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	engine := limitrule.New(limit.NewMemory(c, 100), limit.NewSlots(limit.SlotsOptions{Clock: c}), nil)
	store := limitrule.NewSQLStore(db)
	configured := limitrule.Rule{Name: "configured", Kind: limitrule.Requests, By: []limitrule.Dimension{limitrule.ByTenant}, Amount: 5}
	configured.Complete()
	f, err := limitrule.NewFollower(t.Context(), store, []limitrule.Rule{configured}, engine, c, log)
	if err != nil {
		t.Fatal(err)
	}
	return New(Deps{
		Store: store, Follower: f, Engine: engine, Platform: "default", Clock: c, Log: log, Classes: limit.Table(),
		PerMinute: func(_ context.Context, tenant, key string) (int, bool, error) {
			return 100, key == "" || key == tenant+"-key", nil
		},
	})
}

func as(ctx context.Context, tenant string) context.Context {
	return identity.NewContext(ctx, identity.Caller{Tenant: tenant, Subject: "ada", KeyID: tenant + "-key"})
}

func tokens(amount int64) *edgev1.Limit {
	return &edgev1.Limit{
		Kind: edgev1.LimitKind_LIMIT_KIND_TOTAL_TOKENS, By: []string{"user"}, Amount: amount, Period: durationpb.New(time.Hour), Away: edgev1.LimitAway_LIMIT_AWAY_REFUSE,
	}
}

func reason(t *testing.T, err error, want apierr.Reason) {
	t.Helper()
	if apierr.ReasonOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestLifeOfALimit(t *testing.T) {
	s := open(t)
	acme, other, platform := as(t.Context(), "acme"), as(t.Context(), "other"), as(t.Context(), "default")

	if _, err := s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "day", Limit: tokens(10), ValidateOnly: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetLimit(acme, &edgev1.GetLimitRequest{Name: "day"}); err == nil {
		t.Error("what was only looked at is kept")
	}
	made, err := s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "day", Limit: tokens(10), Etag: "0"})
	if err != nil || made.GetLimit().GetEtag() == "" || made.GetLimit().GetAuthor() != "acme/ada" || made.GetLimit().GetTenant() != "acme" {
		t.Fatalf("%v, %v", made, err)
	}
	_, err = s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "day", Limit: tokens(20), Etag: "0"})
	reason(t, err, apierr.Conflict)
	_, err = s.GetLimit(other, &edgev1.GetLimitRequest{Name: "day"})
	reason(t, err, apierr.NotFound)
	got, err := s.GetLimit(acme, &edgev1.GetLimitRequest{Name: "day"})
	if l := got.GetLimit(); err != nil || l.GetAmount() != 10 || l.GetKind() != edgev1.LimitKind_LIMIT_KIND_TOTAL_TOKENS ||
		l.GetAway() != edgev1.LimitAway_LIMIT_AWAY_REFUSE || l.GetPeriod().AsDuration() != time.Hour {
		t.Errorf("%v, %v", got, err)
	}

	bad := tokens(10)
	bad.Match = &edgev1.LimitMatch{Tenants: []string{"other"}}
	_, err = s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "wide", Limit: bad})
	reason(t, err, apierr.InvalidArgument)
	if _, err = s.SetLimit(platform, &edgev1.SetLimitRequest{Name: "wide", Limit: bad}); err != nil {
		t.Error(err)
	}
	_, err = s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "default", Limit: tokens(1)})
	reason(t, err, apierr.InvalidArgument)
	misspelt := tokens(1)
	misspelt.Match = &edgev1.LimitMatch{Routes: []string{"generatee"}}
	_, err = s.SetLimit(acme, &edgev1.SetLimitRequest{Name: "typo", Limit: misspelt})
	reason(t, err, apierr.InvalidArgument)

	_, err = s.DeleteLimit(acme, &edgev1.DeleteLimitRequest{Name: "day", Etag: "999"})
	reason(t, err, apierr.Conflict)
	if _, err := s.DeleteLimit(acme, &edgev1.DeleteLimitRequest{Name: "day", Etag: made.GetLimit().GetEtag()}); err != nil {
		t.Error(err)
	}
	_, err = s.DeleteLimit(acme, &edgev1.DeleteLimitRequest{Name: "day"})
	reason(t, err, apierr.NotFound)
	_, err = s.DeleteLimit(platform, &edgev1.DeleteLimitRequest{Name: "configured"})
	reason(t, err, apierr.FailedPrecondition)

	page, err := s.ListLimits(platform, &edgev1.ListLimitsRequest{PageSize: 1})
	if err != nil || len(page.GetLimits()) != 1 || page.GetLimits()[0].GetName() != "configured" || page.GetNextPageToken() != "configured" {
		t.Fatalf("%v, %v", page, err)
	}
	page, err = s.ListLimits(platform, &edgev1.ListLimitsRequest{PageSize: 1, PageToken: page.GetNextPageToken()})
	if err != nil || len(page.GetLimits()) != 1 || page.GetLimits()[0].GetName() != "wide" || page.GetNextPageToken() != "" {
		t.Errorf("%v, %v", page, err)
	}
}

// The tenant of a limit is not chosen in it; one that is sent back as it was read stays.
func TestTenantOfALimit(t *testing.T) {
	s := open(t)
	acme, platform := as(t.Context(), "acme"), as(t.Context(), "default")
	for _, c := range []struct {
		ctx            context.Context
		tenant, inside string
		fits           bool
	}{
		{acme, "", "default", false},
		{acme, "", "acme", true},
		{acme, "acme", "acme", true},
		{platform, "", "acme", false},
		{platform, "acme", "default", false},
		{platform, "acme", "acme", true},
		{platform, "", "default", true},
	} {
		l := tokens(10)
		l.Tenant = c.inside
		got, err := s.SetLimit(c.ctx, &edgev1.SetLimitRequest{Name: "day", Tenant: c.tenant, Limit: l})
		if c.fits && (err != nil || got.GetLimit().GetTenant() != c.inside) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
		if e := apierr.From(err); !c.fits && (e == nil || e.Reason != apierr.InvalidArgument || e.Field != "limit.tenant") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestStatus(t *testing.T) {
	s := open(t)
	acme := as(t.Context(), "acme")
	f := limitrule.Facts{Tenant: "acme", KeyID: "acme-key", Subject: "ada", Method: edgev1.OpenAIService_CreateChatCompletion_FullMethodName, Class: limit.Generate, PerMinute: 100}
	for range 2 {
		if _, err := s.Engine.Admit(t.Context(), &f, 1, func(metadata.MD) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.GetLimitStatus(acme, &edgev1.GetLimitStatusRequest{})
	if err != nil || len(got.GetLimits()) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if l := got.GetLimits()[0]; l.GetName() != "default" || l.GetRemaining() != 98 || l.GetAmount() != 100 {
		t.Errorf("%v", l)
	}
	if l := got.GetLimits()[1]; l.GetName() != "configured" || l.GetRemaining() != 3 || l.GetTenant() != "default" || l.GetResetAfter().AsDuration() != 24*time.Second {
		t.Errorf("%v", l)
	}
	for _, req := range []*edgev1.GetLimitStatusRequest{{Method: "/x/y"}, {Address: "nowhere"}} {
		_, err := s.GetLimitStatus(acme, req)
		reason(t, err, apierr.InvalidArgument)
	}
	_, err = s.GetLimitStatus(acme, &edgev1.GetLimitStatusRequest{KeyId: "other-key"})
	reason(t, err, apierr.NotFound)
}
