package oidc

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// form is what names of a kind look like. Expressions that count to hundreds would
// say the same and hold megabytes for as long as the process runs.
type form struct {
	first, rest func(r rune) bool
	most        int // runes
}

// The forms of names. Tenants and roles are as in keys; what identity providers
// call people and groups has more characters, but none at which texts are cut or
// quoted elsewhere.
var (
	tenantForm  = form{first: func(r rune) bool { return lower(r) || digit(r) }, rest: wordPart, most: 63}
	roleForm    = form{first: lower, rest: wordPart, most: 63}
	subjectForm = form{first: subjectPart, rest: subjectPart, most: 255}
	groupForm   = form{first: groupPart, rest: groupPart, most: 128}
	// scopeForm is RFC 6749's, section 3.3.
	scopeForm = form{first: scopePart, rest: scopePart, most: 128}
)

func lower(r rune) bool    { return 'a' <= r && r <= 'z' }
func digit(r rune) bool    { return '0' <= r && r <= '9' }
func wordPart(r rune) bool { return lower(r) || digit(r) || r == '_' || r == '-' }

func subjectPart(r rune) bool {
	return lower(r) || digit(r) || 'A' <= r && r <= 'Z' || strings.ContainsRune("@._+|:/=~-", r)
}

func groupPart(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || strings.ContainsRune("@._+|:/=~ -", r)
}

func scopePart(r rune) bool { return '!' <= r && r <= '~' && r != '"' && r != '\\' }

// MatchString reports whether s is of the form.
func (f form) MatchString(s string) bool {
	if s == "" || len(s) > f.most*utf8.UTFMax || utf8.RuneCountInString(s) > f.most {
		return false
	}
	for i, r := range s {
		if i == 0 && !f.first(r) || i > 0 && !f.rest(r) {
			return false
		}
	}
	return true
}
