package limitrule

import (
	"slices"

	"github.com/poterne/poterne/services/edge/internal/limit"
)

// limitedClasses are the classes of requests that are limited.
func limitedClasses() []string {
	var out []string
	for _, c := range limit.Classes() {
		if c.Cost() > 0 {
			out = append(out, string(c))
		}
	}
	return out
}

// unknownRoute returns the first pattern that no class and no method is as it says, so
// that a rule with it alone would be about nothing; empty when there is none. One that
// is not well formed is not looked at.
func (m *Match) unknownRoute() string {
	if len(m.Routes) == 0 || len(m.Routes) > MaxPatterns {
		return ""
	}
	known := limitedClasses()
	for method, class := range limit.Table() {
		if class.Cost() > 0 {
			known = append(known, method)
		}
	}
	for _, p := range m.Routes {
		if p != "" && len(p) <= maxPattern && !slices.ContainsFunc(known, func(name string) bool { return glob(p, name) }) {
			return p
		}
	}
	return ""
}
