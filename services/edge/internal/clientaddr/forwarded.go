package clientaddr

import (
	"slices"
	"strings"
)

// forwardedFor returns the for parameters of Forwarded headers (RFC 7239, section
// 4), the nearest proxy's last. An element that has none, or whose form is not the
// RFC's, is an empty text: whoever walks the list stops there, as at an obfuscated
// identifier, since nobody knows what stands before it.
//
// The list is cut from its end: what the nearest proxy added is well-formed, and a
// quotation that the client left open before it must not swallow that.
func forwardedFor(values []string) []string {
	list := strings.Join(values, ",")
	var out []string
	end, quoted := len(list), false
	for i := len(list) - 1; i >= 0 && len(out) < maxHops; i-- {
		switch {
		case list[i] == '"' && !escaped(list[:i]):
			quoted = !quoted
		case list[i] == ',' && !quoted:
			if strings.Trim(list[i+1:end], " \t") != "" { // a list may have empty elements
				out = append(out, element(list[i+1:end]))
			}
			end = i
		}
	}
	if len(out) < maxHops {
		out = append(out, element(list[:end]))
	}
	slices.Reverse(out)
	return out
}

// escaped reports whether what follows before is escaped by it.
func escaped(before string) bool {
	return (len(before)-len(strings.TrimRight(before, `\`)))%2 == 1
}

// element returns the for parameter of one forwarded-element.
func element(s string) (node string) {
	for seen := false; ; {
		s = strings.TrimLeft(s, " \t;") // empty pairs are allowed
		if s == "" {
			return node
		}
		name, value, rest, ok := pair(s)
		rest = strings.TrimLeft(rest, " \t")
		if !ok || rest != "" && rest[0] != ';' {
			return ""
		}
		if strings.EqualFold(name, "for") {
			if seen {
				return "" // twice is allowed nowhere
			}
			node, seen = value, true
		}
		s = rest
	}
}

// pair reads token "=" value, where value is a token or a quoted string.
func pair(s string) (name, value, rest string, ok bool) {
	n := tokenLength(s)
	if n == 0 || n == len(s) || s[n] != '=' {
		return "", "", s, false
	}
	name, s = s[:n], s[n+1:]
	if s == "" || s[0] != '"' {
		n = tokenLength(s)
		return name, s[:n], s[n:], n > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return name, b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", "", false // the quotation never ends
}

// tokenLength is how much of s's beginning is a token (RFC 9110, section 5.6.2).
func tokenLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return i
		}
	}
	return len(s)
}
