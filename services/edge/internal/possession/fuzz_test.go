package possession

import (
	"strings"
	"testing"
)

// A proof is read or not, and what is read is whole.
func FuzzProof(f *testing.F) {
	s := newKey(f)
	for _, claims := range []map[string]any{
		{"jti": "1", "htm": "GET", "htu": "https://h/", "iat": 1, "ath": "x", "nonce": "n"}, {"jti": "1", "htm": 1}, {},
	} {
		text, err := s.SignEmbedding(proofType, claims)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parseProof(text)
		if !ok {
			return
		}
		if p.jti == "" || p.method == "" || p.url == "" || p.issued.IsZero() || len(text) > maxProofBytes || p.token.Type != proofType || p.token.Algorithm.Symmetric() {
			t.Errorf("%+v", p)
		}
		if p.signed() && len(p.key) != 43 {
			t.Errorf("the key is %q", p.key)
		}
	})
}

// A normal form is one: it stays the same, and has nothing that a proof's URL must
// not have.
func FuzzNormalise(f *testing.F) {
	for _, text := range []string{"https://h/%7e/..", "http://h:80", "https://[::1]:443/a/./b", "https://h/%", "x:y", "http://:", "http://h/%2e%2E/%zz"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once, ok := normalise(text)
		if !ok {
			return
		}
		if again, ok := normalise(once); !ok && len(once) <= maxURLBytes || ok && again != once {
			t.Errorf("%q: %q, then %q", text, once, again)
		}
		if strings.ContainsAny(once, "?#") {
			t.Errorf("%q: %q", text, once)
		}
	})
}

// The header of a proxy is a certificate or nothing.
func FuzzHandedOn(f *testing.F) {
	f.Add(":MIIB:")
	f.Add("::")
	f.Fuzz(func(_ *testing.T, text string) { _ = thumbprint(handedOn([]string{text})) })
}
