package detect

import "strings"

// privateKey finds keys in their armour (RFC 7468). One whose end does not come
// is taken to reach as far as a finding may.
type privateKey struct{}

const (
	armourBegin = "-----BEGIN "
	armourEnd   = "-----END "
	armourKey   = "PRIVATE KEY"
	dashes      = "-----"
)

func (privateKey) Kinds() []Kind { return []Kind{PrivateKey} }

func (privateKey) Starts(b byte) bool { return b == '-' }

func (privateKey) Match(text string, whole bool) (Kind, int, Verdict) {
	if v := prefixed(text, armourBegin, whole); v != Yes {
		return "", 0, v
	}
	at := len(armourBegin)
	label, _, closed := strings.Cut(text[at:min(len(text), at+40)], dashes)
	if !closed && len(text) < at+40 && !whole {
		return "", 0, More
	}
	if !closed || !strings.HasSuffix(label, armourKey) {
		return "", 0, No
	}
	if i := strings.Index(text[at:], armourEnd); i >= 0 {
		end := at + i + len(armourEnd)
		if j := strings.Index(text[end:], dashes); j >= 0 && j <= 40 {
			return PrivateKey, end + j + len(dashes), Yes
		}
	}
	if !whole {
		return "", 0, More
	}
	return PrivateKey, len(text), Yes
}

// urlPassword finds URLs with a password in them.
type urlPassword struct{ scheme, user, password *set }

func newURLPassword() urlPassword {
	return urlPassword{scheme: setOf(base62 + "+"), user: setBut("/:@?#\"'<>"), password: setBut("/@?#\"'<>")}
}

func (urlPassword) Kinds() []Kind { return []Kind{URLPassword} }

func (urlPassword) Starts(b byte) bool { return isLetter(b) }

func (u urlPassword) Match(text string, whole bool) (Kind, int, Verdict) {
	scheme, more := u.scheme.while(text, whole, 16)
	if more {
		return "", 0, More
	}
	if v := prefixed(text[scheme:], "://", whole); v != Yes {
		return "", 0, v
	}
	at := scheme + len("://")
	user, more := u.user.while(text[at:], whole, 128)
	if more {
		return "", 0, More
	}
	if at += user; at == len(text) || text[at] != ':' {
		return "", 0, No
	}
	at++
	password, more := u.password.while(text[at:], whole, 256)
	if more {
		return "", 0, More
	}
	if at += password; password == 0 || at == len(text) || text[at] != '@' || placeholder(text[at-password:at]) {
		return "", 0, No
	}
	return URLPassword, at + 1, Yes
}

// assignment finds passwords and keys that a text calls so: DB_PASSWORD=…,
// "api_key": "…". What looks like a name, a call or a placeholder is none.
type assignment struct{ name, quote, blank, sign, value *set }

func newAssignment() assignment {
	return assignment{
		name: setOf(base62 + "_-"), quote: setOf("\"'`\\"), blank: setOf(" \t"), sign: setOf(":=>"),
		value: setBut("\"'`\\,;<>(){}[]"),
	}
}

const (
	maxName     = 64
	minPassword = 8
	maxPassword = 128
)

func (assignment) Kinds() []Kind { return []Kind{Password} }

func (assignment) Starts(b byte) bool { return isLetter(b) || b == '_' }

func (a assignment) Match(text string, whole bool) (Kind, int, Verdict) {
	name, more := a.name.while(text, whole, maxName)
	if more {
		return "", 0, More
	}
	at := name
	// The name may be quoted, and the value be quoted too.
	for i, part := range [...]*set{a.quote, a.blank, a.sign, a.blank, a.quote} {
		n, more := part.while(text[at:], whole, 4)
		if more {
			return "", 0, More
		}
		if i == 2 && (n == 0 || !namesSecret(text[:name])) {
			return "", 0, No
		}
		at += n
	}
	n, more := a.value.while(text[at:], whole, maxPassword+1)
	switch {
	case more:
		return "", 0, More
	case n < minPassword || n > maxPassword || at+n < len(text) && strings.IndexByte("([{<", text[at+n]) >= 0:
		return "", 0, No
	case placeholder(text[at : at+n]):
		return "", 0, No
	}
	return Password, at + n, Yes
}

func namesSecret(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	for _, end := range []string{
		"password", "passwd", "passphrase", "pwd", "secret", "api_key", "apikey", "secret_key", "secretkey", "access_key", "accesskey",
		"auth_token", "access_token", "client_secret", "private_token", "mdp", "mot_de_passe", "motdepasse", "passwort", "kennwort", "contrasena",
	} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// placeholder reports whether a value is one that stands for another, or is too
// plain to be a secret: it needs a letter and a digit or sign.
func placeholder(v string) bool {
	if strings.HasPrefix(v, "$") || strings.HasPrefix(v, "%") || strings.Contains(v, "...") || strings.Contains(v, "***") ||
		strings.Contains(strings.ToLower(v), "example") || strings.Contains(strings.ToLower(v), "redacted") {
		return true
	}
	letters, others := false, false
	for i := range len(v) {
		switch {
		case isLetter(v[i]):
			letters = true
		case v[i] != '_' && v[i] != '.' && v[i] != ':':
			others = true
		}
	}
	return !letters || !others
}
