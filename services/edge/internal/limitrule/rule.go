// Package limitrule holds limits as data: rules that say which requests count, by
// what they are counted apart, and how much is let through; and the engine that
// finds the rules of a request and asks the buckets (package limit) about all of
// them at once. Start reading at Rule and Engine.
package limitrule

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/limit"
)

// Kind is what a rule counts.
type Kind string

// The kinds.
const (
	// Requests are counted when they arrive.
	Requests Kind = "requests"
	// InputTokens, OutputTokens and TotalTokens are reserved before a model works, and
	// settled by what the engine counted.
	InputTokens  Kind = "input_tokens"
	OutputTokens Kind = "output_tokens"
	TotalTokens  Kind = "total_tokens"
	// Concurrent requests are those in hand, streams among them.
	Concurrent Kind = "concurrent_requests"
)

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{Requests, InputTokens, OutputTokens, TotalTokens, Concurrent} }

func (k Kind) tokens() bool { return k == InputTokens || k == OutputTokens || k == TotalTokens }

// unit is what a caller is told that is counted.
func (k Kind) unit() limit.Unit {
	switch {
	case k.tokens():
		return limit.Tokens
	case k == Concurrent:
		return limit.Concurrent
	default:
		return limit.Requests
	}
}

// Dimension is what requests are counted apart by.
type Dimension string

// The dimensions.
const (
	ByTenant Dimension = "tenant"
	// ByKey counts each API key, and for credentials without one each subject.
	ByKey Dimension = "key"
	// ByUser counts each `user` of a request, which the caller names, and each subject
	// where it names none; those of different tenants are apart.
	ByUser Dimension = "user"
	// ByModel counts each model's name, whatever alias or version of it is asked for.
	ByModel Dimension = "model"
	// ByRoute counts each method.
	ByRoute Dimension = "route"
	// ByAddress counts each client address, and for IPv6 each /64.
	ByAddress Dimension = "address"
)

// Dimensions returns every dimension.
func Dimensions() []Dimension {
	return []Dimension{ByTenant, ByKey, ByUser, ByModel, ByRoute, ByAddress}
}

// Away is what becomes of a rule while the replicas' shared store is away.
type Away string

// What may become of it.
const (
	AwayLocal  Away = "local"  // each replica lets its share through
	AwayAllow  Away = "allow"  // nothing is refused
	AwayRefuse Away = "refuse" // everything is
)

func (a Away) mode() limit.Away {
	switch a {
	case AwayAllow:
		return limit.AwayAllow
	case AwayRefuse:
		return limit.AwayRefuse
	case AwayLocal:
		return limit.AwayLocal
	default:
		return limit.AwayLocal
	}
}

// Match says which requests a rule is about. A list that is empty is about all; a
// pattern may hold asterisks, which stand for anything.
type Match struct {
	// Tenants is for the platform's rules only.
	Tenants []string `yaml:"tenants" json:"tenants,omitempty"`
	// Keys is ids of API keys.
	Keys   []string `yaml:"keys" json:"keys,omitempty"`
	Users  []string `yaml:"users" json:"users,omitempty"`
	Models []string `yaml:"models" json:"models,omitempty"`
	// Routes is classes, such as generate, or methods, such as
	// /poterne.edge.v1.OpenAIService/*.
	Routes []string `yaml:"routes" json:"routes,omitempty"`
}

// Rule is a limit.
type Rule struct {
	// Name is lower-case letters, digits and hyphens. Callers see it.
	Name  string      `yaml:"name" json:"name"`
	Kind  Kind        `yaml:"kind" json:"kind"`
	By    []Dimension `yaml:"by" json:"by,omitempty"`
	Match Match       `yaml:"match" json:"match"`
	// Amount is what each bucket may have in a Period, and Burst at once; for what is
	// concurrent, Amount is all.
	Amount int           `yaml:"amount" json:"amount"`
	Period time.Duration `yaml:"period" json:"period,omitempty"`
	// Burst of 0 is Amount.
	Burst int  `yaml:"burst" json:"burst,omitempty"`
	Away  Away `yaml:"away" json:"away,omitempty"`
	// Disabled rules limit nothing; one may hide a rule of the configuration.
	Disabled bool `yaml:"disabled" json:"disabled,omitempty"`
}

// The bounds on rules.
const (
	// MaxRules bounds the rules of one tenant, the platform's and the configuration's
	// among them.
	MaxRules = 100
	// MaxPatterns bounds each list of Match.
	MaxPatterns = 100
	maxPattern  = 256 // bytes
	maxName     = 63
	// MaxAtOnce bounds what is concurrent.
	MaxAtOnce = 1_000_000
)

// Complete fills in what is left out.
func (r *Rule) Complete() {
	if r.Away == "" {
		r.Away = AwayLocal
	}
	if r.Period == 0 && r.Kind != Concurrent {
		r.Period = time.Minute
	}
}

// limit is what each bucket may have.
func (r *Rule) limit() limit.Limit {
	if r.Kind == Concurrent {
		return limit.Limit{Amount: r.Amount, Period: time.Second} // the period says nothing
	}
	return limit.Limit{Amount: r.Amount, Period: r.Period, Burst: r.Burst}
}

// Problem is what is wrong with a field of a rule.
type Problem struct{ Field, Text string }

// Check returns everything that is wrong with a complete rule; own says that it is a
// tenant's, not the platform's.
func (r *Rule) Check(own bool) []Problem {
	var out []Problem
	bad := func(field, format string, args ...any) {
		out = append(out, Problem{field, fmt.Sprintf(format, args...)})
	}
	if !validName(r.Name) {
		bad("name", "must be 1 to 63 lower-case letters, digits and hyphens, and begin with a letter")
	}
	if r.Name == limit.PolicyDefault {
		bad("name", "must not be %q, which is each key's own limit", r.Name)
	}
	if !slices.Contains(Kinds(), r.Kind) {
		bad("kind", "must be one of %v", Kinds())
	}
	for i, d := range r.By {
		if !slices.Contains(Dimensions(), d) || slices.Contains(r.By[:i], d) {
			bad("by", "must be some of %v, each once", Dimensions())
			break
		}
	}
	if !slices.Contains([]Away{AwayLocal, AwayAllow, AwayRefuse}, r.Away) {
		bad("away", "must be local, allow or refuse")
	}
	if own && len(r.Match.Tenants) > 0 {
		bad("match.tenants", "must be empty: a tenant's limits are about itself")
	}
	for field, list := range map[string][]string{
		"match.tenants": r.Match.Tenants, "match.keys": r.Match.Keys, "match.users": r.Match.Users,
		"match.models": r.Match.Models, "match.routes": r.Match.Routes,
	} {
		if len(list) > MaxPatterns || slices.ContainsFunc(list, func(s string) bool {
			return s == "" || len(s) > maxPattern || strings.ContainsFunc(s, unicode.IsControl)
		}) {
			bad(field, "must be at most %d patterns of 1 to %d bytes, without control characters", MaxPatterns, maxPattern)
		}
	}
	if route := r.Match.unknownRoute(); route != "" {
		bad("match.routes", "has %q, which is no class (%s) and no method that is limited, such as %s",
			route, strings.Join(limitedClasses(), ", "), edgev1.OpenAIService_CreateChatCompletion_FullMethodName)
	}
	r.checkAmount(bad)
	slices.SortFunc(out, func(a, b Problem) int { return slices.Compare([]string{a.Field}, []string{b.Field}) })
	return out
}

func (r *Rule) checkAmount(bad func(field, format string, args ...any)) {
	if r.Kind == Concurrent {
		if r.Amount < 1 || r.Amount > MaxAtOnce {
			bad("amount", "must be from 1 to %d", MaxAtOnce)
		}
		if r.Period != 0 || r.Burst != 0 {
			bad("period", "and burst are not for what is concurrent")
		}
		return
	}
	if r.Amount < 1 || r.Amount > limit.MaxAmount {
		bad("amount", "must be from 1 to %d", limit.MaxAmount)
		return
	}
	if r.Period < time.Second || r.Period > limit.MaxPeriod {
		bad("period", "must be from 1s to 744h")
	}
	if r.Burst < 0 || r.Burst > limit.MaxBurst*r.Amount || r.Burst > limit.MaxAmount {
		bad("burst", "must be from 0 to %d times the amount, and at most %d", limit.MaxBurst, limit.MaxAmount)
	}
}

// validName reports whether a rule may have the name.
func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
