package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
)

// The example of RFC 7638, section 3.1, and that of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	for want, text := range map[string]string{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		set, err := ParseKeySet([]byte(`{"keys":[`+text+`]}`), KeySetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := set.keys[0].Thumbprint(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestEmbedded(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{ec, ed} {
		s, err := NewSigner("x", key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := s.SignEmbedding("dpop+jwt", map[string]any{"jti": "1"})
		if err != nil {
			t.Fatal(err)
		}
		token, by, err := ParseEmbedded(text)
		if err != nil || !token.SignedBy(by) || by.Thumbprint() != s.Thumbprint() || token.Type != "dpop+jwt" || token.KeyID != "" {
			t.Fatalf("%+v, %v", token, err)
		}
		named, err := s.Sign("dpop+jwt", map[string]any{"jti": "1"})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ParseEmbedded(named); err == nil {
			t.Error("a token without a key is taken")
		}
	}
}

// A key that is brought along is public, whole and for signatures.
func TestEmbeddedKeysAreStrict(t *testing.T) {
	const x, y = `"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"`, `"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"`
	embed := func(jwk string) error {
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","jwk":` + jwk + `}`))
		_, _, err := ParseEmbedded(head + ".e30." + strings.Repeat("A", 86))
		return err
	}
	if err := embed(`{"kty":"EC","crv":"P-256",` + x + `,` + y + `}`); err != nil {
		t.Fatal(err)
	}
	for name, jwk := range map[string]string{
		"private":        `{"kty":"EC","crv":"P-256",` + x + `,` + y + `,"d":"AA"}`,
		"half private":   `{"kty":"EC","crv":"P-256",` + x + `,` + y + `,"dp":"AA"}`,
		"with a secret":  `{"kty":"EC","crv":"P-256",` + x + `,` + y + `,"k":"AA"}`,
		"a secret":       `{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		"off the curve":  `{"kty":"EC","crv":"P-256",` + x + `,"y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`,
		"half a point":   `{"kty":"EC","crv":"P-256",` + x + `}`,
		"x twice":        `{"kty":"EC","crv":"P-256",` + x + `,` + x + `,` + y + `}`,
		"for encryption": `{"kty":"EC","use":"enc","crv":"P-256",` + x + `,` + y + `}`,
		"unknown":        `{"kty":"AKP"}`,
		"a text":         `"EC"`,
		"null":           `null`,
	} {
		if embed(jwk) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
