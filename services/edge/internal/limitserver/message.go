package limitserver

import (
	"strconv"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

func kindOf(k limitrule.Kind) edgev1.LimitKind {
	switch k {
	case limitrule.Requests:
		return edgev1.LimitKind_LIMIT_KIND_REQUESTS
	case limitrule.InputTokens:
		return edgev1.LimitKind_LIMIT_KIND_INPUT_TOKENS
	case limitrule.OutputTokens:
		return edgev1.LimitKind_LIMIT_KIND_OUTPUT_TOKENS
	case limitrule.TotalTokens:
		return edgev1.LimitKind_LIMIT_KIND_TOTAL_TOKENS
	case limitrule.Concurrent:
		return edgev1.LimitKind_LIMIT_KIND_CONCURRENT_REQUESTS
	default:
		return edgev1.LimitKind_LIMIT_KIND_UNSPECIFIED
	}
}

func awayOf(a limitrule.Away) edgev1.LimitAway {
	switch a {
	case limitrule.AwayAllow:
		return edgev1.LimitAway_LIMIT_AWAY_ALLOW
	case limitrule.AwayRefuse:
		return edgev1.LimitAway_LIMIT_AWAY_REFUSE
	case limitrule.AwayLocal:
		return edgev1.LimitAway_LIMIT_AWAY_LOCAL
	default:
		return edgev1.LimitAway_LIMIT_AWAY_LOCAL
	}
}

// ruleOf returns the rule that a message describes, complete.
func ruleOf(name string, m *edgev1.Limit) limitrule.Rule {
	r := limitrule.Rule{
		Name: name, Amount: int(m.GetAmount()), Period: m.GetPeriod().AsDuration(), Burst: int(m.GetBurst()), Disabled: m.GetDisabled(),
		Match: limitrule.Match{
			Tenants: m.GetMatch().GetTenants(), Keys: m.GetMatch().GetKeys(), Users: m.GetMatch().GetUsers(),
			Models: m.GetMatch().GetModels(), Routes: m.GetMatch().GetRoutes(),
		},
	}
	for _, k := range limitrule.Kinds() {
		if kindOf(k) == m.GetKind() {
			r.Kind = k
		}
	}
	for _, a := range []limitrule.Away{limitrule.AwayLocal, limitrule.AwayAllow, limitrule.AwayRefuse} {
		if awayOf(a) == m.GetAway() {
			r.Away = a
		}
	}
	for _, d := range m.GetBy() {
		r.By = append(r.By, limitrule.Dimension(d))
	}
	r.Complete()
	return r
}

func message(l limitrule.Stored, tenant string) *edgev1.Limit {
	m := &edgev1.Limit{
		Name: l.Name, Kind: kindOf(l.Kind), Amount: int64(l.Amount), Burst: int64(l.Burst), Away: awayOf(l.Away), Disabled: l.Disabled,
		Tenant: tenant, Author: l.Author,
		Match: &edgev1.LimitMatch{Tenants: l.Match.Tenants, Keys: l.Match.Keys, Users: l.Match.Users, Models: l.Match.Models, Routes: l.Match.Routes},
	}
	for _, d := range l.By {
		m.By = append(m.By, string(d))
	}
	if l.Kind != limitrule.Concurrent {
		m.Period = durationpb.New(l.Period)
	}
	if l.Version > 0 {
		m.Etag, m.CreateTime, m.UpdateTime = strconv.FormatInt(l.Version, 10), timestamppb.New(l.CreateTime), timestamppb.New(l.UpdateTime)
	}
	return m
}
