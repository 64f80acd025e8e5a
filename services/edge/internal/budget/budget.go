// Package budget bounds what a tenant, a team or a key may use in a day, a month or
// at all, in money or in tokens. Requests reserve from what this edge holds of a
// budget, so that none waits for the store as long as that lasts. It prices nothing
// and keeps no usage (packages price and ledger). Start reading at Keeper.
package budget

import (
	"slices"
	"strings"
	"time"
)

// Scope is whose use counts.
type Scope string

// The scopes.
const (
	// Tenant is everybody of the tenant.
	Tenant Scope = "tenant"
	// Team is every caller of the tenant who is in a group.
	Team Scope = "team"
	// Key is one API key.
	Key Scope = "key"
)

// Every is how long a budget lasts.
type Every string

// The periods.
const (
	Day   Every = "day"
	Month Every = "month"
	Total Every = "total"
)

// Unit is what is counted.
type Unit string

// The units.
const (
	// Money is in millionths of the currency's unit.
	Money Unit = "money"
	// Tokens are those read and those generated.
	Tokens Unit = "tokens"
)

// Budget is a bound. Its scope, period and unit never change: another budget of
// that name is another one.
type Budget struct {
	// UID is the budget's number, never used again.
	UID    int64
	Tenant string
	ID     string
	Scope  Scope
	// Name is the group's name or the key's id; empty for the tenant.
	Name  string
	Every Every
	Unit  Unit
	// Amount is how much may be used.
	Amount int64
	// Warnings are per cent of the amount from which callers are warned, in rising order.
	Warnings []int32
	// Hard says that requests are refused that do not fit.
	Hard bool
	// Platform says that only the platform's administrators change it.
	Platform bool
	// The times are exact to the microsecond.
	CreateTime, UpdateTime time.Time
	Updater                string
}

// Start returns when the period began that a time is in, in microseconds since 1970.
func (b Budget) Start(t time.Time, zone *time.Location) int64 {
	t = t.In(zone)
	switch b.Every {
	case Day:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone).UnixMicro()
	case Month:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, zone).UnixMicro()
	case Total:
		return 0
	default:
		return 0
	}
}

// End returns when the period ends that a time is in; the zero time for one that
// does not.
func (b Budget) End(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	switch b.Every {
	case Day:
		return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, zone)
	case Month:
		return time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, zone)
	case Total:
		return time.Time{}
	default:
		return time.Time{}
	}
}

// Caller is who uses something.
type Caller struct {
	Tenant, KeyID string
	// Principals are the caller's; those that begin with group: are its teams.
	Principals []string
}

const groupHead = "group:"

// set is all budgets at one state of the store. It is not changed.
type set struct {
	tenants map[string]tenantBudgets
	byUID   map[int64]Budget
}

type tenantBudgets struct {
	all   []Budget
	teams map[string][]Budget
	keys  map[string][]Budget
}

func newSet(budgets []Budget) *set {
	s := &set{tenants: make(map[string]tenantBudgets), byUID: make(map[int64]Budget, len(budgets))}
	for _, b := range budgets {
		s.byUID[b.UID] = b
		t, ok := s.tenants[b.Tenant]
		if !ok {
			t = tenantBudgets{teams: make(map[string][]Budget), keys: make(map[string][]Budget)}
		}
		switch b.Scope {
		case Tenant:
			t.all = append(t.all, b)
		case Team:
			t.teams[b.Name] = append(t.teams[b.Name], b)
		case Key:
			t.keys[b.Name] = append(t.keys[b.Name], b)
		}
		s.tenants[b.Tenant] = t
	}
	return s
}

// of returns the budgets that count a caller's use, in the order of their numbers.
func (s *set) of(c Caller) []Budget {
	t, ok := s.tenants[c.Tenant]
	if !ok {
		return nil
	}
	out := slices.Clone(t.all)
	for _, principal := range c.Principals {
		if len(t.teams) == 0 {
			break
		}
		g, ok := strings.CutPrefix(principal, groupHead)
		if !ok {
			continue
		}
		for _, b := range t.teams[g] {
			if !slices.ContainsFunc(out, func(o Budget) bool { return o.UID == b.UID }) {
				out = append(out, b)
			}
		}
	}
	if c.KeyID != "" {
		out = append(out, t.keys[c.KeyID]...)
	}
	slices.SortFunc(out, func(a, b Budget) int { return int(min(max(a.UID-b.UID, -1), 1)) })
	return out
}
