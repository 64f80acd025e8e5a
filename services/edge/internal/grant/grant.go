// Package grant says what credentials may be used for, below what their holder
// may do: actions, models, collections and networks. It knows neither keys nor
// requests. Start reading at Grant; how entries are written is in pattern.go, and
// how grants are compared in compare.go.
package grant

import (
	"net/netip"
	"slices"
	"strings"
)

// Grant narrows what credentials may be used for. The zero value narrows nothing;
// of each list that is not empty one entry must match. An empty entry matches
// nothing: a list of only that one is what two grants with nothing in common
// leave. A Grant is not changed once it is in use.
type Grant struct {
	// Scopes are the actions, as `type:action` (`model:chat`), with * for either.
	Scopes []string
	// Models and Collections are names, or beginnings of names with * at the end.
	Models, Collections []string
	// Networks are where requests may come from.
	Networks []netip.Prefix
}

// Everything reports whether g narrows nothing.
func (g Grant) Everything() bool {
	return len(g.Scopes)+len(g.Models)+len(g.Collections)+len(g.Networks) == 0
}

// Action reports whether an action on a type of resource is granted.
func (g Grant) Action(typ, action string) bool {
	return len(g.Scopes) == 0 || slices.ContainsFunc(g.Scopes, func(s string) bool { return scopeCovers(s, typ, action) })
}

// Model reports whether the model of that name is granted; name has no alias or
// version after it.
func (g Grant) Model(name string) bool { return named(g.Models, name) }

// Collection reports whether the collection of that name is granted.
func (g Grant) Collection(name string) bool { return named(g.Collections, name) }

// Address reports whether requests may come from addr. One that is not known may
// not, where networks are listed.
func (g Grant) Address(addr netip.Addr) bool {
	return len(g.Networks) == 0 || slices.ContainsFunc(g.Networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func named(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool { return nameCovers(p, name) })
}

func scopeCovers(scope, typ, action string) bool {
	t, a, ok := strings.Cut(scope, ":")
	return ok && (t == wildcard || t == typ) && (a == wildcard || a == action)
}

func nameCovers(pattern, name string) bool {
	if before, ok := strings.CutSuffix(pattern, wildcard); ok {
		return strings.HasPrefix(name, before)
	}
	return pattern != "" && pattern == name
}
