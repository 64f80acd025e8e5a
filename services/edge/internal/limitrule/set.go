package limitrule

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/services/edge/internal/limit"
)

// Facts is what a request is counted by.
type Facts struct {
	Tenant, KeyID, Subject string
	// User is the request's own `user`, and Model the bare name of the model; both may
	// be empty.
	User, Model string
	// Method is the full method, and Class its class.
	Method string
	Class  limit.Class
	// Address is the client's network.
	Address string
	// PerMinute is the limit of the key's requests per minute.
	PerMinute int
	// Later says that it is a further message of a stream, which is in hand already.
	Later bool
}

// user is who is counted by ByUser.
func (f *Facts) user() string {
	if f.User != "" {
		return "user " + f.User
	}
	return "subject " + f.Subject
}

// key is who is counted by ByKey.
func (f *Facts) key() string {
	if f.KeyID != "" {
		return "key " + f.KeyID
	}
	return "subject " + f.Subject
}

// Owned is a rule and whose it is.
type Owned struct {
	Rule

	// Tenant is empty for the platform's.
	Tenant string
	// Version counts the changes to it; 0 for one of the configuration.
	Version int64
	// Born tells it from those of its name that there were before, whose buckets are
	// not its own; 0 for one of the configuration.
	Born  int64
	limit limit.Limit
}

// own reports whether the rule's buckets are never shared by tenants, so that what
// they have left may be told.
func (o *Owned) own() bool {
	return o.Tenant != "" || slices.ContainsFunc(o.By, func(d Dimension) bool {
		return d == ByTenant || d == ByKey || d == ByUser || d == ByAddress
	})
}

// set is the rules in force.
type set struct {
	platform []*Owned
	tenants  map[string][]*Owned
}

// newSet puts rules into force, those that are disabled left out.
func newSet(rules []Owned) *set {
	s := &set{tenants: make(map[string][]*Owned)}
	for _, r := range rules {
		if r.Disabled {
			continue
		}
		r.limit = r.Rule.limit()
		if r.Tenant == "" {
			s.platform = append(s.platform, &r)
		} else {
			s.tenants[r.Tenant] = append(s.tenants[r.Tenant], &r)
		}
	}
	return s
}

// of appends the rules that are about a request.
func (s *set) of(f *Facts, out []*Owned) []*Owned {
	for _, r := range s.platform {
		if r.about(f) {
			out = append(out, r)
		}
	}
	for _, r := range s.tenants[f.Tenant] {
		if r.about(f) {
			out = append(out, r)
		}
	}
	return out
}

func (s *set) empty() bool { return len(s.platform) == 0 && len(s.tenants) == 0 }

func (o *Owned) about(f *Facts) bool {
	reason, _ := o.miss(f)
	return reason == ""
}

// miss is why a rule is not about a request; empty when it is. personal says that it is
// for who asks.
func (o *Owned) miss(f *Facts) (reason string, personal bool) {
	m := &o.Match
	switch {
	case !matches(m.Tenants, f.Tenant):
		return "it is about other tenants", true
	case !matches(m.Keys, f.KeyID):
		return "it is about other API keys", true
	case len(m.Users) > 0 && !anyOf(m.Users, f.User) && !anyOf(m.Users, f.Subject):
		return "it is about other users", true
	case len(m.Routes) > 0 && !anyOf(m.Routes, string(f.Class)) && !anyOf(m.Routes, f.Method):
		return "it is about other methods", false
	case f.Model == "" && len(m.Models) > 0:
		return "it is about some models, and no model is given", false
	case f.Model == "" && slices.Contains(o.By, ByModel):
		return "it counts each model apart, and no model is given", false
	case !matches(m.Models, f.Model):
		return "it is about other models", false
	}
	return "", false
}

// bucket names where a request is counted. The names of values that callers choose
// are told apart by their lengths.
func (o *Owned) bucket(f *Facts) string {
	b := make([]byte, 0, 96)
	b = append(append(append(b, o.Tenant...), '/'), o.Name...)
	if o.Born != 0 {
		b = strconv.AppendInt(append(b, '@'), o.Born, 36)
	}
	for _, d := range o.By {
		switch d {
		case ByTenant:
			b = part(b, f.Tenant)
		case ByKey:
			b = part(part(b, f.Tenant), f.key())
		case ByUser:
			b = part(part(b, f.Tenant), f.user())
		case ByModel:
			b = part(b, f.Model)
		case ByRoute:
			b = part(b, f.Method)
		case ByAddress:
			b = part(b, f.Address)
		}
	}
	return string(b)
}

func part(b []byte, value string) []byte {
	b = strconv.AppendInt(append(b, '/'), int64(len(value)), 10)
	return append(append(b, ':'), value...)
}

// countedBy is the dimensions in words.
func (o *Owned) countedBy() string {
	if len(o.By) == 0 {
		return "all"
	}
	words := make([]string, len(o.By))
	for i, d := range o.By {
		words[i] = string(d)
	}
	return strings.Join(words, ", ")
}

// partition is what of a bucket's name the caller may want to tell apart; empty
// when there is one for each caller.
func (o *Owned) partition(bucket string) string {
	if slices.ContainsFunc(o.By, func(d Dimension) bool { return d != ByTenant && d != ByKey }) {
		return bucket
	}
	return ""
}

func matches(patterns []string, value string) bool {
	return len(patterns) == 0 || anyOf(patterns, value)
}

func anyOf(patterns []string, value string) bool {
	for _, p := range patterns {
		if glob(p, value) {
			return true
		}
	}
	return false
}

// Like reports whether a pattern of a limit is for a name.
func Like(pattern, name string) bool { return glob(pattern, name) }

// glob reports whether value is as pattern says, in which asterisks stand for
// anything. Only the last asterisk is ever tried again, so that no pattern is slow.
func glob(pattern, value string) bool {
	star, from := -1, 0
	p, v := 0, 0
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, v
			p++
		case p < len(pattern) && pattern[p] == value[v]:
			p++
			v++
		case star >= 0:
			from++
			p, v = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
