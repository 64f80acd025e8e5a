package routeserver

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// operations is every operation, by its number in the contract.
func operations() map[edgev1.RouteOperation]route.Operation {
	return map[edgev1.RouteOperation]route.Operation{
		edgev1.RouteOperation_ROUTE_OPERATION_CHAT:       route.Chat,
		edgev1.RouteOperation_ROUTE_OPERATION_COMPLETION: route.Completion,
		edgev1.RouteOperation_ROUTE_OPERATION_EMBED:      route.Embed,
		edgev1.RouteOperation_ROUTE_OPERATION_RERANK:     route.Rerank,
		edgev1.RouteOperation_ROUTE_OPERATION_SEARCH:     route.Search,
	}
}

// reasons is every reason that a route may name, by its number in the contract.
func reasons() map[edgev1.RouteReason]route.Reason {
	return map[edgev1.RouteReason]route.Reason{
		edgev1.RouteReason_ROUTE_REASON_UNREACHED:       route.Unreached,
		edgev1.RouteReason_ROUTE_REASON_UNAVAILABLE:     route.Unavailable,
		edgev1.RouteReason_ROUTE_REASON_OVERLOADED:      route.Overloaded,
		edgev1.RouteReason_ROUTE_REASON_ENGINE_FAILED:   route.EngineFailed,
		edgev1.RouteReason_ROUTE_REASON_TIMEOUT:         route.Timeout,
		edgev1.RouteReason_ROUTE_REASON_CONTEXT_LENGTH:  route.ContextLength,
		edgev1.RouteReason_ROUTE_REASON_MODEL_NOT_FOUND: route.ModelNotFound,
	}
}

// wordsOf returns the words of numbers, in their order.
func wordsOf[N comparable, W any](numbers []N, all map[N]W) []W {
	var out []W
	for _, n := range numbers {
		out = append(out, all[n])
	}
	return out
}

// numbersOf returns the numbers of words, in their order.
func numbersOf[N, W comparable](words []W, all map[N]W) []N {
	var out []N
	for _, w := range words {
		for n, of := range all {
			if of == w {
				out = append(out, n)
			}
		}
	}
	return out
}

// routeOf returns the route that a message describes, complete.
func routeOf(name string, m *edgev1.Route) route.Route {
	match := m.GetMatch()
	r := route.Route{
		Name: name, Priority: int(m.GetPriority()), Model: m.GetModel(), Disabled: m.GetDisabled(),
		Match: route.Match{
			Operations: wordsOf(match.GetOperations(), operations()), Paths: match.GetPaths(), Models: match.GetModels(),
			Tenants: match.GetTenants(), Subjects: match.GetSubjects(), Keys: match.GetKeys(),
		},
		Timeouts: route.Timeouts{
			Request: m.GetTimeouts().GetRequest().AsDuration(), Attempt: m.GetTimeouts().GetAttempt().AsDuration(),
			FirstToken: m.GetTimeouts().GetFirstToken().AsDuration(),
		},
		Retry: route.Retry{
			Attempts: int(m.GetRetry().GetAttempts()), On: wordsOf(m.GetRetry().GetOn(), reasons()),
			Backoff: m.GetRetry().GetBackoff().AsDuration(), MaxBackoff: m.GetRetry().GetMaxBackoff().AsDuration(),
		},
		Fallback: route.Fallback{Models: m.GetFallback().GetModels(), On: wordsOf(m.GetFallback().GetOn(), reasons())},
		Sticky:   route.Sticky{By: route.StickyBy(m.GetSticky().GetBy()), Name: m.GetSticky().GetName()},
		Mirror:   route.Mirror{Model: m.GetMirror().GetModel(), Percent: m.GetMirror().GetPercent()},
		Hedge:    route.Hedge{Delay: m.GetHedgeDelay().AsDuration()},
	}
	for _, h := range match.GetHeaders() {
		r.Match.Headers = append(r.Match.Headers, route.HeaderMatch{
			Name: h.GetName(), Value: h.GetValue(), Prefix: h.GetPrefix(), Present: h.GetPresent(),
		})
	}
	r.Complete()
	return r
}

func message(s *route.Stored) *edgev1.Route {
	m := &edgev1.Route{
		Name: s.Name, Priority: int32(s.Priority), Model: s.Model, Disabled: s.Disabled, Author: s.Author, HedgeDelay: duration(s.Hedge.Delay),
		Match: &edgev1.RouteMatch{
			Operations: numbersOf(s.Match.Operations, operations()), Paths: s.Match.Paths, Models: s.Match.Models,
			Tenants: s.Match.Tenants, Subjects: s.Match.Subjects, Keys: s.Match.Keys,
		},
		Timeouts: &edgev1.RouteTimeouts{
			Request: duration(s.Timeouts.Request), Attempt: duration(s.Timeouts.Attempt), FirstToken: duration(s.Timeouts.FirstToken),
		},
		Retry: &edgev1.RouteRetry{
			Attempts: int32(s.Retry.Attempts), On: numbersOf(s.Retry.On, reasons()),
			Backoff: duration(s.Retry.Backoff), MaxBackoff: duration(s.Retry.MaxBackoff),
		},
	}
	for _, h := range s.Match.Headers {
		m.Match.Headers = append(m.Match.Headers, header(h))
	}
	if f := s.Fallback; len(f.Models) > 0 {
		m.Fallback = &edgev1.RouteFallback{Models: f.Models, On: numbersOf(f.On, reasons())}
	}
	if s.Sticky.By != "" {
		m.Sticky = &edgev1.RouteSticky{By: string(s.Sticky.By), Name: s.Sticky.Name}
	}
	if s.Mirror.Model != "" {
		m.Mirror = &edgev1.RouteMirror{Model: s.Mirror.Model, Percent: s.Mirror.Percent}
	}
	if s.Version > 0 {
		m.Etag, m.CreateTime, m.UpdateTime = strconv.FormatInt(s.Version, 10), timestamppb.New(s.CreateTime), timestamppb.New(s.UpdateTime)
	}
	return m
}

func header(h route.HeaderMatch) *edgev1.RouteHeaderMatch {
	m := &edgev1.RouteHeaderMatch{Name: h.Name}
	switch {
	case h.Present:
		m.Is = &edgev1.RouteHeaderMatch_Present{Present: true}
	case h.Prefix != "":
		m.Is = &edgev1.RouteHeaderMatch_Prefix{Prefix: h.Prefix}
	default:
		m.Is = &edgev1.RouteHeaderMatch_Value{Value: h.Value}
	}
	return m
}

// duration is absent for 0.
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
