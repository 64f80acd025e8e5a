package issue

import "strings"

// The bounds of what a token may be asked for.
const (
	maxScopes     = 64
	maxScopeBytes = 128
	whatever      = "*"
)

// isScope reports whether a text is `type:action`, with * for either. Whether there
// is such a type or action is of no matter: a token may always do less.
func isScope(text string) bool {
	kind, action, ok := strings.Cut(text, ":")
	return ok && len(text) <= maxScopeBytes && word(kind) && word(action)
}

func word(s string) bool {
	return s == whatever || s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
