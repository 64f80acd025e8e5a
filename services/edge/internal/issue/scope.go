package issue

import (
	"slices"
	"strings"
)

// The bounds of what a token may be asked for.
const (
	maxScopes     = 64
	maxScopeBytes = 128
	whatever      = "*"
)

// scope is one action on one kind of thing, with * for any.
type scope struct{ kind, action string }

// parseScope reads `type:action`.
func parseScope(text string) (scope, bool) {
	kind, action, ok := strings.Cut(text, ":")
	if !ok || len(text) > maxScopeBytes || !word(kind) || !word(action) {
		return scope{}, false
	}
	return scope{kind, action}, true
}

func word(s string) bool {
	return s == whatever || s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

// meet returns what both allow.
func meet(a, b scope) (scope, bool) {
	kind, ok := meetWord(a.kind, b.kind)
	action, ok2 := meetWord(a.action, b.action)
	return scope{kind, action}, ok && ok2
}

func meetWord(a, b string) (string, bool) {
	switch {
	case a == whatever:
		return b, true
	case b == whatever || a == b:
		return a, true
	default:
		return "", false
	}
}

// within returns what of the wanted scopes the granted ones allow; no granted ones
// allow all. What is not of the form allows nothing.
func within(wanted, granted []string) (out []string) {
	for _, text := range wanted {
		w, ok := parseScope(text)
		if !ok {
			continue
		}
		if len(granted) == 0 {
			out = append(out, text)
			continue
		}
		for _, text := range granted {
			g, ok := parseScope(text)
			if !ok {
				continue
			}
			if m, ok := meet(w, g); ok && !slices.Contains(out, m.kind+":"+m.action) {
				out = append(out, m.kind+":"+m.action)
			}
		}
	}
	return out
}

// covers reports whether the granted scopes allow all of the wanted ones.
func covers(granted, wanted []string) bool {
	for _, text := range wanted {
		if !slices.Contains(within([]string{text}, granted), text) {
			return false
		}
	}
	return true
}
