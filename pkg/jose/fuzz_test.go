package jose

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
)

func fuzzSigner(f *testing.F) *Signer {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	s, err := NewSigner("one", key)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// What is read as a token is written in one way: its parts encode to the text that
// was read. No text that was not signed verifies.
func FuzzToken(f *testing.F) {
	s := fuzzSigner(f)
	text, err := PublicSet(s)
	if err != nil {
		f.Fatal(err)
	}
	set, err := ParseKeySet(text, KeySetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Sign("at+jwt", map[string]any{"iss": "x", "exp": 1})
	if err != nil {
		f.Fatal(err)
	}
	embedding, err := s.SignEmbedding("dpop+jwt", map[string]any{"jti": "x"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		good, embedding, "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9.e30.AAAA",
		"eyJhbGciOiJFUzI1NiIsImFsZyI6IkVTMjU2In0.e30.AAAA", "eyJhbGciOiJFUzI1NiJ9.e31.AAAA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			return
		}
		if !token.Algorithm.Known() || len(text) > MaxTokenBytes || token.signed+"."+encode(token.signature) != text {
			t.Errorf("%q is read as %+v", text, token)
		}
		if _, err := token.Verify(set); err == nil && text != good && text != embedding {
			t.Errorf("%q verifies", text)
		}
		if same, key, err := ParseEmbedded(text); err == nil && same.SignedBy(key) && key.Thumbprint() == "" {
			t.Errorf("%q: a key without a name", text)
		}
	})
}

// A set that is read has only keys that verify something, each name once, and none
// that could sign.
func FuzzKeySet(f *testing.F) {
	for name, key := range signers(f) {
		s, _ := signer(f, name, key)
		text, err := PublicSet(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, seed := range []string{
		`{"keys":[]}`, `{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"x"}]}`, `{"keys":[],"keys":[]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := ParseKeySet(text, KeySetOptions{})
		if err != nil {
			return
		}
		for _, a := range []Algorithm{RS256, PS256, ES256, ES384, ES512, EdDSA, HS256} {
			token := Token{Algorithm: a, signed: "a", signature: make([]byte, 64)}
			if _, err := token.Verify(set); err == nil {
				t.Errorf("%s verifies a signature of zeros by %s", text, a)
			}
		}
		names := make(map[string]bool)
		for _, k := range set.keys {
			if len(k.algorithms) == 0 || k.Thumbprint() == "" || k.ID != "" && names[k.ID] {
				t.Errorf("%s: %+v", text, k)
			}
			names[k.ID] = true
		}
	})
}

// Claims that are read have times that are times, and are no deeper than they may be.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"x","aud":"y","exp":1.5,"nbf":0,"iat":253402300799}`, `{"aud":["a","b"]}`, `{"aud":1}`, `{"exp":"1"}`, `{"exp":1e400}`, `{"exp":-0}`,
		`{"x":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}`, `{"iss":"x","iss":"y"}`, `{"iss":"\ud800"}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseClaims(text)
		if err != nil {
			return
		}
		if len(c.All) > maxClaims || len(c.Audience) > maxAudiences || c.Expires.Unix() > 253402300799 || bytes.IndexByte(bytes.TrimSpace(text), '{') != 0 {
			t.Errorf("%s: %+v", text, c)
		}
	})
}
