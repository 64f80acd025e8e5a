package limitserver

import (
	"context"
	"strings"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// A limit that is about nobody is kept, or looked at, and says so; of other tenants' keys
// and models nobody is told.
func TestALimitOfNobodySaysSo(t *testing.T) {
	s := open(t)
	acme, platform := as(t.Context(), "acme"), as(t.Context(), "default")
	for name, c := range map[string]struct {
		ctx    context.Context
		tenant string
		match  *edgev1.LimitMatch
		want   []string
	}{
		"all":                  {acme, "", nil, nil},
		"what there is":        {acme, "", &edgev1.LimitMatch{Keys: []string{"acme-key"}, Models: []string{"small", "acme-own"}, Users: []string{"bo"}}, nil},
		"patterns":             {acme, "", &edgev1.LimitMatch{Keys: []string{"x*"}, Models: []string{"sm*", "acme-*", "*"}}, nil},
		"a pattern of nothing": {acme, "", &edgev1.LimitMatch{Models: []string{"gpt-*", "sm*"}}, []string{`no model of a name like "gpt-*" now`}},
		"a pattern of others":  {acme, "", &edgev1.LimitMatch{Models: []string{"other-*"}}, []string{`like "other-*"`}},
		"others' model":        {acme, "", &edgev1.LimitMatch{Models: []string{"other-own"}}, []string{`no model "other-own" now`}},
		"others' key":          {acme, "", &edgev1.LimitMatch{Keys: []string{"other-key"}}, []string{`no API key with the id "other-key"`}},
		"a revoked key":        {acme, "", &edgev1.LimitMatch{Keys: []string{"acme-old"}}, []string{"acme-old was revoked"}},
		"a version":            {acme, "", &edgev1.LimitMatch{Models: []string{"small@v3"}}, []string{`no request to "small@v3"`}},
		"slips":                {platform, "", &edgev1.LimitMatch{Tenants: []string{"acme", "acne", "*"}, Models: []string{"smoll"}}, []string{`tenant "acne"`, `no model "smoll"`}},
		"any tenant's key":     {platform, "", &edgev1.LimitMatch{Keys: []string{"other-key"}}, nil},
		"another tenant":       {platform, "acme", nil, nil},
		"a tenant's slip":      {platform, "acne", nil, []string{`tenant "acne"`}},
		"a tenant's own":       {platform, "acme", &edgev1.LimitMatch{Models: []string{"acme-own"}}, nil},
		"the own, by tenant":   {acme, "acme", &edgev1.LimitMatch{Models: []string{"acme-own"}}, nil},
	} {
		for _, check := range []bool{true, false} {
			l := tokens(10)
			l.Match = c.match
			got, err := s.SetLimit(c.ctx, &edgev1.SetLimitRequest{Name: "day", Tenant: c.tenant, Limit: l, ValidateOnly: check})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(got.GetWarnings()) != len(c.want) {
				t.Errorf("%s: %q, want %q", name, got.GetWarnings(), c.want)
				continue
			}
			for i, w := range c.want {
				if !strings.Contains(got.GetWarnings()[i], w) {
					t.Errorf("%s: %q, want %q", name, got.GetWarnings()[i], w)
				}
			}
		}
	}
}
