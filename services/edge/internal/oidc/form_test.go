package oidc

import (
	"regexp"
	"testing"
)

// FuzzForms compares the forms with the expressions that they stand for.
func FuzzForms(f *testing.F) {
	same := map[*regexp.Regexp]form{
		regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`):        tenantForm,
		regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`):           roleForm,
		regexp.MustCompile(`^[A-Za-z0-9@._+|:/=~-]{1,255}$`):    subjectForm,
		regexp.MustCompile(`^[\p{L}\p{N}@._+|:/=~ -]{1,128}$`):  groupForm,
		regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,128}$`): scopeForm,
	}
	for _, seed := range []string{"", "acme", "-acme", "Équipe n° 3", "a\n", "\xff", "٣", "a b", `a"b`, `a\b`, "9", "A|b:c/d=e~f", "日本"} {
		f.Add(seed, uint16(1))
		f.Add(seed, uint16(63))
		f.Add(seed, uint16(256))
	}
	f.Fuzz(func(t *testing.T, s string, n uint16) {
		for range min(n, 300) {
			if len(s) > 600 {
				break
			}
			for want, got := range same {
				if want.MatchString(s) != got.MatchString(s) {
					t.Fatalf("%q: %v says %v", s, want, want.MatchString(s))
				}
			}
			s += "a"
		}
	})
}
