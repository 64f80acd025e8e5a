package usage

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/outputonly"
)

// SetBudget makes or changes a budget.
func (s *Server) SetBudget(ctx context.Context, req *edgev1.SetBudgetRequest) (*edgev1.SetBudgetResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	in := req.GetBudget()
	now := s.usage.now()
	b := budget.Budget{
		Tenant: or(req.GetTenant(), c.Tenant), ID: in.GetId(), Scope: budget.Scope(in.GetScope()), Name: in.GetScopeName(), Every: budget.Every(in.GetPeriod()),
		Unit: budget.Unit(in.GetUnit()), Amount: in.GetAmount(), Warnings: in.GetWarnings(), Hard: in.GetHard(), UpdateTime: now, Updater: c.Subject + "@" + c.Tenant,
	}
	if err := outputonly.Tenant("budget.tenant", in.GetTenant(), b.Tenant); err != nil {
		return nil, err
	}
	platform := s.platform(ctx, c, "set")
	// What the platform sets for another tenant, that tenant does not change.
	b.Platform = platform && (in.GetPlatform() || b.Tenant != c.Tenant)
	if err := checkBudget(b); err != nil {
		return nil, err
	}
	audit.From(ctx).SetResource("budget " + b.Tenant + "/" + b.ID)
	warnings, err := s.counted(ctx, c, b)
	if err != nil {
		return nil, err
	}
	if !b.Hard && len(b.Warnings) == 0 {
		warnings = append(warnings, "the budget is counted, and no more: it refuses nothing (hard is not set), and warns of nothing (there are no warnings)")
	}
	if b, err = s.usage.budgets.Set(ctx, b, platform); err != nil {
		return nil, budgetError(err)
	}
	s.log.InfoContext(ctx, "a budget is set", slog.String(metrics.KeyTenant, b.Tenant), slog.String(metrics.KeyBudget, b.ID))
	out, err := s.applied(ctx, b)
	if err != nil {
		return nil, err
	}
	return &edgev1.SetBudgetResponse{Budget: out, Warnings: warnings}, nil
}

// applied has this edge follow a change at once, and returns the budget.
func (s *Server) applied(ctx context.Context, b budget.Budget) (*edgev1.Budget, error) {
	if err := s.usage.follow(ctx); err != nil {
		return nil, storeError(err)
	}
	out, err := s.standings(ctx, []budget.Budget{b})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func checkBudget(b budget.Budget) error {
	switch {
	case b.ID == "":
		return apierr.Invalid("budget.id", "budget.id is required")
	case b.Scope == budget.Tenant && b.Name != "":
		return apierr.Invalid("budget.scope_name", "budget.scope_name must be empty for a budget of the tenant")
	case b.Scope != budget.Tenant && (b.Name == "" || strings.ContainsFunc(b.Name, unicode.IsControl)):
		return apierr.Invalid("budget.scope_name", "budget.scope_name must be the name of a group, or the id of a key")
	case !slices.IsSorted(b.Warnings):
		return apierr.Invalid("budget.warnings", "budget.warnings must be in rising order")
	}
	return nil
}

// GetBudget gets a budget. Another tenant's that the caller may not see was refused
// before.
func (s *Server) GetBudget(ctx context.Context, req *edgev1.GetBudgetRequest) (*edgev1.GetBudgetResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.usage.budgets.List(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	tenant := or(req.GetTenant(), c.Tenant)
	i := slices.IndexFunc(list, func(b budget.Budget) bool { return b.Tenant == tenant && b.ID == req.GetId() })
	if i < 0 {
		return nil, budgetError(budget.ErrNotFound)
	}
	out, err := s.standings(ctx, list[i:i+1])
	if err != nil {
		return nil, err
	}
	return &edgev1.GetBudgetResponse{Budget: out[0]}, nil
}

// ListBudgets lists budgets.
func (s *Server) ListBudgets(ctx context.Context, req *edgev1.ListBudgetsRequest) (*edgev1.ListBudgetsResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.usage.budgets.List(ctx)
	if err != nil {
		return nil, storeError(err)
	}
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, apierr.Invalid("page_token", "page_token is not one that this method gave")
	}
	place := func(b budget.Budget) string { return b.Tenant + "\x00" + b.ID }
	tenant := s.tenant(ctx, c, req.GetTenant(), "budget")
	list = slices.DeleteFunc(list, func(b budget.Budget) bool {
		return tenant != "" && b.Tenant != tenant || len(after) > 0 && place(b) <= string(after)
	})
	slices.SortFunc(list, func(a, b budget.Budget) int { return strings.Compare(place(a), place(b)) })
	out := new(edgev1.ListBudgetsResponse)
	size := defaultPageSize
	if req.GetPageSize() > 0 {
		size = int(req.GetPageSize())
	}
	if len(list) > size {
		list = list[:size]
		out.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(place(list[size-1])))
	}
	out.Budgets, err = s.standings(ctx, list)
	return out, err
}

// DeleteBudget removes a budget.
func (s *Server) DeleteBudget(ctx context.Context, req *edgev1.DeleteBudgetRequest) (*edgev1.DeleteBudgetResponse, error) {
	c, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	tenant := or(req.GetTenant(), c.Tenant)
	audit.From(ctx).SetResource("budget " + tenant + "/" + req.GetId())
	b, err := s.usage.budgets.Delete(ctx, tenant, req.GetId(), s.platform(ctx, c, "delete"))
	if err != nil {
		return nil, budgetError(err)
	}
	s.log.InfoContext(ctx, "a budget is removed", slog.String(metrics.KeyTenant, b.Tenant), slog.String(metrics.KeyBudget, b.ID))
	if err := s.usage.follow(ctx); err != nil {
		return nil, storeError(err)
	}
	return new(edgev1.DeleteBudgetResponse), nil
}

func budgetError(err error) error {
	switch {
	case errors.Is(err, budget.ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no such budget")
	case errors.Is(err, budget.ErrOther):
		return apierr.New(apierr.AlreadyExists, "the budget of this name has another scope, period or unit; these do not change").WithField("budget.id")
	case errors.Is(err, budget.ErrFull):
		return apierr.New(apierr.FailedPrecondition, "the tenant has %d budgets, as many as may be", budget.MaxPerTenant)
	case errors.Is(err, budget.ErrPlatform):
		return apierr.New(apierr.PermissionDenied, "this budget was set by the platform's administrators, and only they change it")
	default:
		return storeError(err)
	}
}

// standings returns budgets and how they stand now, on all edges.
func (s *Server) standings(ctx context.Context, list []budget.Budget) ([]*edgev1.Budget, error) {
	if len(list) == 0 {
		return nil, nil
	}
	now := s.usage.now()
	periods := make([]ledger.Period, len(list))
	for i, b := range list {
		periods[i] = ledger.Period{Budget: b.UID, Start: b.Start(now, s.usage.zone)}
	}
	if err := s.usage.writer.Flush(ctx); err != nil {
		return nil, storeError(err)
	}
	standings, err := s.usage.store.Standings(ctx, periods, now)
	if err != nil {
		return nil, storeError(err)
	}
	out := make([]*edgev1.Budget, len(list))
	for i, b := range list {
		st := standings[i]
		out[i] = &edgev1.Budget{
			Id: b.ID, Tenant: b.Tenant, Scope: string(b.Scope), ScopeName: b.Name, Period: string(b.Every), Unit: string(b.Unit), Amount: b.Amount,
			Warnings: b.Warnings, Hard: b.Hard, Platform: b.Platform, CreateTime: timestamppb.New(b.CreateTime), UpdateTime: timestamppb.New(b.UpdateTime),
			Updater:  b.Updater,
			Standing: &edgev1.BudgetStanding{Settled: st.Settled, Reserved: st.Held, Remaining: max(b.Amount-st.Settled-st.Held, 0)},
		}
		if end := b.End(now, s.usage.zone); !end.IsZero() {
			out[i].Standing.StartTime, out[i].Standing.EndTime = timestamppb.New(sqldb.FromMicros(periods[i].Start)), timestamppb.New(end)
		}
	}
	return out, nil
}

func budgetCaller(c identity.Caller) budget.Caller {
	return budget.Caller{Tenant: c.Tenant, KeyID: c.KeyID, Principals: c.Principals}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// now is as exact as what the store keeps.
func (u *Usage) now() time.Time { return u.d.Clock.Now().UTC().Truncate(time.Microsecond) }
