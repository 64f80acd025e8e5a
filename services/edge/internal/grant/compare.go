package grant

import (
	"net/netip"
	"slices"
	"strings"
)

// Beyond returns the name of the first list in which g grants what limit does
// not, or "". Lists are compared entry by entry, so that every entry of g must be
// within one of limit's; what only several of these cover together counts as
// beyond.
func (g Grant) Beyond(limit Grant) string {
	switch {
	case beyond(g.Scopes, limit.Scopes, scopeMeet):
		return "scopes"
	case beyond(g.Models, limit.Models, nameMeet):
		return "models"
	case beyond(g.Collections, limit.Collections, nameMeet):
		return "collections"
	case beyond(g.Networks, limit.Networks, networkMeet):
		return "networks"
	}
	return ""
}

// Intersect returns what both grant.
func (g Grant) Intersect(other Grant) Grant {
	return Grant{
		Scopes:      meet(g.Scopes, other.Scopes, scopeMeet),
		Models:      meet(g.Models, other.Models, nameMeet),
		Collections: meet(g.Collections, other.Collections, nameMeet),
		Networks:    meet(g.Networks, other.Networks, networkMeet),
	}
}

// Or returns g with other's lists where g has none.
func (g Grant) Or(other Grant) Grant {
	return Grant{
		Scopes: or(g.Scopes, other.Scopes), Models: or(g.Models, other.Models),
		Collections: or(g.Collections, other.Collections), Networks: or(g.Networks, other.Networks),
	}
}

func or[T any](a, b []T) []T {
	if len(a) > 0 {
		return a
	}
	return b
}

func beyond[T comparable](list, limit []T, both func(a, b T) (T, bool)) bool {
	if len(limit) == 0 {
		return false
	}
	var nothing T
	return len(list) == 0 || slices.ContainsFunc(list, func(a T) bool {
		return a != nothing && !slices.ContainsFunc(limit, func(b T) bool { c, ok := both(a, b); return ok && c == a })
	})
}

// meet returns the entries that match what one of each list does.
func meet[T comparable](a, b []T, both func(a, b T) (T, bool)) []T {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	var out []T
	for _, x := range a {
		for _, y := range b {
			if c, ok := both(x, y); ok && !slices.Contains(out, c) {
				out = append(out, c)
			}
		}
	}
	if len(out) == 0 {
		out = make([]T, 1) // matches nothing, where no entry would match everything
	}
	return out
}

func scopeMeet(a, b string) (string, bool) {
	t1, a1, ok1 := strings.Cut(a, ":")
	t2, a2, ok2 := strings.Cut(b, ":")
	t, ok3 := partMeet(t1, t2)
	act, ok4 := partMeet(a1, a2)
	return t + ":" + act, ok1 && ok2 && ok3 && ok4
}

func partMeet(a, b string) (string, bool) {
	if a == wildcard {
		return b, true
	}
	return a, b == wildcard || a == b
}

func nameMeet(a, b string) (string, bool) {
	if a == "" || b == "" {
		return "", false
	}
	beginA, openA := strings.CutSuffix(a, wildcard)
	beginB, openB := strings.CutSuffix(b, wildcard)
	switch {
	case openB && strings.HasPrefix(beginA, beginB):
		return a, true
	case openA && strings.HasPrefix(beginB, beginA):
		return b, true
	}
	return a, a == b
}

func networkMeet(a, b netip.Prefix) (netip.Prefix, bool) {
	if !a.Overlaps(b) {
		return netip.Prefix{}, false
	}
	if a.Bits() >= b.Bits() {
		return a, true
	}
	return b, true
}
