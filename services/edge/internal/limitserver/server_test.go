package limitserver

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
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
		Keys:     keyring{},
		Model:    func(tenant, name string) bool { return name == "small" || name == tenant+"-own" },
		AnyModel: func(tenant string, meant func(string) bool) bool { return meant("small") || meant(tenant+"-own") },
	})
}

// keyring has a key TENANT-key of each of some tenants, and one of acme that was revoked.
type keyring struct{}

func (keyring) Get(_ context.Context, id string) (apikey.Record, error) {
	if id == "acme-old" {
		return apikey.Record{ID: id, Tenant: "acme", RevokeTime: time.Unix(1, 0)}, nil
	}
	tenant, ok := strings.CutSuffix(id, "-key")
	if !ok || !slices.Contains([]string{"acme", "other", "default"}, tenant) {
		return apikey.Record{}, apikey.ErrNotFound
	}
	return apikey.Record{ID: id, Tenant: tenant}, nil
}

func (k keyring) List(ctx context.Context, f apikey.Filter) ([]apikey.Record, error) {
	r, err := k.Get(ctx, f.Tenant+"-key")
	if err != nil {
		return nil, nil //nolint:nilerr // it has none
	}
	return []apikey.Record{r}, nil
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

// Whoever asks what a user has left without a model is told why rules about models are not
// among it; what the platform keeps of others, a tenant is not told.
func TestStatusSaysWhyNot(t *testing.T) {
	s := open(t)
	acme, platform := as(t.Context(), "acme"), as(t.Context(), "default")
	set := func(ctx context.Context, name string, by []string, m *edgev1.LimitMatch) {
		t.Helper()
		l := tokens(10)
		l.By, l.Match = by, m
		if _, err := s.SetLimit(ctx, &edgev1.SetLimitRequest{Name: name, Limit: l}); err != nil {
			t.Fatal(err)
		}
	}
	byUser := []string{"user"}
	set(acme, "some-models", byUser, &edgev1.LimitMatch{Models: []string{"gpt-*"}})
	set(acme, "each-model", []string{"user", "model"}, nil)
	set(acme, "bo", byUser, &edgev1.LimitMatch{Users: []string{"bo"}})
	set(platform, "all-models", byUser, &edgev1.LimitMatch{Models: []string{"gpt-*"}})
	set(platform, "searches", byUser, &edgev1.LimitMatch{Routes: []string{"search"}})
	set(platform, "of-other", byUser, &edgev1.LimitMatch{Tenants: []string{"other"}})
	set(platform, "of-a-key", byUser, &edgev1.LimitMatch{Keys: []string{"other-key"}})
	set(platform, "shared", nil, &edgev1.LimitMatch{Models: []string{"gpt-*"}})
	for _, c := range []struct {
		ctx         context.Context
		user, model string
		want        string
	}{
		{acme, "ana", "", "all-models: no model is given; searches: other methods; bo: other users; each-model: no model is given; some-models: no model is given"},
		{acme, "bo", "gpt-5", "searches: other methods"},
		{acme, "bo", "small", "all-models: other models; searches: other methods; some-models: other models"},
		{platform, "ana", "gpt-5", "of-a-key: other API keys; of-other: other tenants; searches: other methods; bo: other users"},
	} {
		got, err := s.GetLimitStatus(c.ctx, &edgev1.GetLimitStatusRequest{Tenant: "acme", KeyId: "acme-key", User: c.user, Model: c.model})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Split(c.want, "; ")
		if len(got.GetMisses()) != len(want) {
			t.Errorf("%s, %s: %v, want %q", c.user, c.model, got.GetMisses(), want)
			continue
		}
		for i, w := range want {
			name, reason, _ := strings.Cut(w, ": ")
			if m := got.GetMisses()[i]; m.GetName() != name || !strings.Contains(m.GetReason(), reason) || m.GetTenant() == "" {
				t.Errorf("%s, %s: %v, want %s", c.user, c.model, m, w)
			}
		}
		for _, l := range got.GetLimits() {
			if slices.ContainsFunc(got.GetMisses(), func(m *edgev1.LimitMiss) bool { return m.GetName() == l.GetName() }) {
				t.Errorf("%s, %s: %s is told, and is not", c.user, c.model, l.GetName())
			}
		}
	}
}
