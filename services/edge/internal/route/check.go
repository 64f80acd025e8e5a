package route

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// The bounds on routes.
const (
	// MaxRoutes bounds the routes that are kept, and those of the configuration.
	MaxRoutes = 200
	// MaxPatterns bounds each list of Match.
	MaxPatterns = 100
	// MaxHeaders bounds the headers of one route.
	MaxHeaders = 16
	// MaxAttempts bounds the attempts at one model, and MaxFallbacks the other models.
	MaxAttempts  = 5
	MaxFallbacks = 5
	// MaxPriority bounds priorities on both sides of 0.
	MaxPriority = 1_000_000
	maxPattern  = 256 // bytes
	maxName     = 63
	maxTime     = 30 * time.Minute
	minTime     = time.Millisecond
	maxBackoff  = time.Minute
	maxHedge    = time.Minute
)

// Problem is what is wrong with a field of a route.
type Problem struct{ Field, Text string }

type problems []Problem

func (p *problems) bad(ok bool, field, format string, args ...any) {
	if !ok {
		*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
	}
}

// Check returns everything that is wrong with a complete route.
func (r *Route) Check() []Problem {
	var p problems
	p.bad(validName(r.Name), "name", "must be 1 to 63 lower-case letters, digits and hyphens, and begin with a letter")
	p.bad(r.Priority >= -MaxPriority && r.Priority <= MaxPriority, "priority", "must be from %d to %d", -MaxPriority, MaxPriority)
	r.Match.check(&p)
	p.bad(r.Model == "" || validModel(r.Model), "model", "must be a model such as name, name@alias or name@v3")
	for _, t := range []struct {
		field string
		value time.Duration
	}{
		{"timeouts.request", r.Timeouts.Request},
		{"timeouts.attempt", r.Timeouts.Attempt},
		{"timeouts.first_token", r.Timeouts.FirstToken},
	} {
		p.bad(t.value == 0 || t.value >= minTime && t.value <= maxTime, t.field, "must be from %v to %v", minTime, maxTime)
	}
	whole := r.Timeouts.Request
	p.bad(whole == 0 || r.Timeouts.Attempt <= whole, "timeouts.attempt", "must not be longer than timeouts.request")
	p.bad(whole == 0 || r.Timeouts.FirstToken <= whole, "timeouts.first_token", "must not be longer than timeouts.request")
	r.checkRetry(&p)
	r.checkFallback(&p)
	r.checkRest(&p)
	return p
}

func (m *Match) check(p *problems) {
	for _, o := range m.Operations {
		p.bad(slices.Contains(Operations(), o), "match.operations", "must be some of %v", Operations())
	}
	p.bad(len(m.Operations) <= len(Operations()), "match.operations", "must be some of %v, each once", Operations())
	for _, list := range []struct {
		field    string
		patterns []string
	}{
		{"match.paths", m.Paths},
		{"match.models", m.Models},
		{"match.tenants", m.Tenants},
		{"match.subjects", m.Subjects},
		{"match.keys", m.Keys},
	} {
		bad := slices.ContainsFunc(list.patterns, func(s string) bool {
			return s == "" || len(s) > maxPattern || strings.ContainsFunc(s, unicode.IsControl)
		})
		p.bad(len(list.patterns) <= MaxPatterns && !bad, list.field, "must be at most %d patterns of 1 to %d bytes, without control characters", MaxPatterns, maxPattern)
	}
	p.bad(len(m.Headers) <= MaxHeaders, "match.headers", "must be at most %d", MaxHeaders)
	for i, h := range m.Headers {
		at := fmt.Sprintf("match.headers[%d]", i)
		p.bad(validHeader(h.Name), at+".name", "must be the name of a header in lower case")
		p.bad(!secretHeader(h.Name), at+".name", "must not be a header that holds credentials")
		ways := 0
		for _, is := range []bool{h.Value != "", h.Prefix != "", h.Present} {
			if is {
				ways++
			}
		}
		p.bad(ways == 1, at, "must have one of value, prefix and present")
		p.bad(len(h.Value) <= maxPattern && len(h.Prefix) <= maxPattern, at, "must have at most %d bytes", maxPattern)
	}
}

func (r *Route) checkRetry(p *problems) {
	t := r.Retry
	p.bad(t.Attempts >= 1 && t.Attempts <= MaxAttempts, "retry.attempts", "must be from 1 to %d", MaxAttempts)
	p.bad(t.Attempts > 1 || len(t.On) == 0 && t.Backoff == 0 && t.MaxBackoff == 0, "retry.attempts", "must be at least 2 where there is anything else about retries")
	for _, on := range t.On {
		p.bad(slices.Contains(retriable(), on), "retry.on", "must be some of %v", retriable())
	}
	if t.Attempts > 1 {
		p.bad(t.Backoff >= minTime && t.Backoff <= maxBackoff, "retry.backoff", "must be from %v to %v", minTime, maxBackoff)
		p.bad(t.MaxBackoff >= t.Backoff && t.MaxBackoff <= maxBackoff, "retry.max_backoff", "must be from retry.backoff to %v", maxBackoff)
	}
}

// retriable is when the same model may answer after all.
func retriable() []Reason { return []Reason{Unreached, Unavailable, Overloaded, EngineFailed, Timeout} }

func (r *Route) checkFallback(p *problems) {
	f := r.Fallback
	p.bad(len(f.Models) <= MaxFallbacks, "fallback.models", "must be at most %d", MaxFallbacks)
	for i, m := range f.Models {
		at := fmt.Sprintf("fallback.models[%d]", i)
		p.bad(validModel(m), at, "must be a model such as name, name@alias or name@v3")
		p.bad(!slices.Contains(f.Models[:i], m), at, "is in the list already")
		p.bad(m != r.Model, at, "is the route's own model, to which nothing falls back")
		p.bad(r.Model != "" || !slices.Contains(r.Match.Models, m), at, "is one of match.models: a model does not fall back to itself")
	}
	for _, on := range f.On {
		p.bad(slices.Contains(Reasons(), on), "fallback.on", "must be some of %v", Reasons())
	}
	p.bad(len(f.Models) > 0 || len(f.On) == 0, "fallback.models", "must not be empty where there are reasons")
	p.bad(len(f.Models) == 0 || r.Match.some(Operation.generates), "fallback.models",
		"are for chat and completions: another model's vectors are of another space, and scores are not comparable")
}

func (r *Route) checkRest(p *problems) {
	switch s := r.Sticky; s.By {
	case "", ByPrincipal:
		p.bad(s.Name == "", "sticky.name", "is for headers and cookies")
	case ByHeader:
		p.bad(validHeader(s.Name), "sticky.name", "must be the name of a header in lower case")
		p.bad(!secretHeader(s.Name), "sticky.name", "must not be a header that holds credentials")
	case ByCookie:
		p.bad(validCookie(s.Name), "sticky.name", "must be 1 to 63 letters, digits, hyphens and underscores, and not begin with two underscores")
	default:
		p.bad(false, "sticky.by", "must be header, cookie or principal")
	}
	m := r.Mirror
	p.bad(m.Percent >= 0 && m.Percent <= 100, "mirror.percent", "must be from 0 to 100")
	p.bad(m.Model != "" || m.Percent == 0, "mirror.model", "is needed")
	p.bad(m.Model == "" || validModel(m.Model), "mirror.model", "must be a model such as name, name@alias or name@v3")
	p.bad(m.Model == "" || m.Percent > 0, "mirror.percent", "must be above 0")
	p.bad(m.Model == "" || r.Match.some(Operation.generates), "mirror.model", "is for chat and completions")
	d := r.Hedge.Delay
	p.bad(d == 0 || d >= minTime && d <= maxHedge, "hedge.delay", "must be from %v to %v", minTime, maxHedge)
	p.bad(d == 0 || r.Match.some(func(o Operation) bool { return o == Embed || o == Search }), "hedge.delay",
		"is for embeddings and search: what others do costs too much to be done twice")
}

// some reports whether the match is about an operation of which is holds.
func (m *Match) some(is func(Operation) bool) bool {
	return len(m.Operations) == 0 || slices.ContainsFunc(m.Operations, is)
}

// validName reports whether a route may have the name.
func validName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= maxName && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789-") == ""
}

func validModel(s string) bool {
	name, _, _ := strings.Cut(s, "@")
	return name != "" && len(s) <= maxPattern && !strings.ContainsAny(s, "* ;,\"") && !strings.ContainsFunc(s, unicode.IsControl) && !strings.HasSuffix(s, "@")
}

func validHeader(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" && !strings.HasSuffix(s, "-bin")
}

// secretHeader reports whether a header holds credentials, which nothing of a route
// may tell of.
func secretHeader(s string) bool {
	return slices.Contains([]string{"authorization", "proxy-authorization", "cookie", "x-api-key", "dpop", "x-forwarded-client-cert"}, s)
}

func validCookie(s string) bool {
	return s != "" && len(s) <= maxName && !strings.HasPrefix(s, "__") &&
		strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
