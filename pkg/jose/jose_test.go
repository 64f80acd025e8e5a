package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func signers(tb testing.TB) map[string]crypto.Signer {
	tb.Helper()
	out := make(map[string]crypto.Signer)
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		out[name] = key
	}
	out["Ed25519"] = edwardsKey(tb)
	var err error
	if out["RSA"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		tb.Fatal(err)
	}
	return out
}

func edwardsKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func signer(tb testing.TB, id string, key crypto.Signer) (*Signer, KeySet) {
	tb.Helper()
	s, err := NewSigner(id, key)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := PublicSet(s)
	if err != nil {
		tb.Fatal(err)
	}
	set, err := ParseKeySet(text, KeySetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return s, set
}

// What is signed here is verified by the set that is published, whatever the kind
// of key, and by no other key; and nothing of the token can be changed.
func TestSignAndVerify(t *testing.T) {
	all, others := signers(t), signers(t)
	for name, key := range all {
		s, set := signer(t, name, key)
		token, err := s.Sign("JWT", map[string]any{"sub": "ana"})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		if payload, err := parsed.Verify(set); err != nil || string(payload) != `{"sub":"ana"}` || parsed.KeyID != name || parsed.Type != "JWT" {
			t.Errorf("%s: %s, %v", name, payload, err)
		}
		_, other := signer(t, name, others[name])
		if _, err := parsed.Verify(other); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: by another key: %v", name, err)
		}
		if _, err := parsed.Verify(KeySet{}); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: by no key: %v", name, err)
		}
		step := 11
		if name == "Ed25519" {
			step = 1 // it is quick
		}
		for i := 0; i < len(token); i += step {
			changed := []byte(token)
			changed[i] ^= 1
			p, err := Parse(string(changed))
			if err != nil {
				continue
			}
			if _, err := p.Verify(set); err == nil {
				t.Fatalf("%s: byte %d can be changed", name, i)
			}
		}
	}
}

// A header that is not exactly what it must be refuses the token.
func TestHeaders(t *testing.T) {
	s, set := signer(t, "k", edwardsKey(t))
	bad := map[string]string{
		"none":                   `{"alg":"none","kid":"k"}`,
		"no alg":                 `{"kid":"k"}`,
		"alg in capitals":        `{"ALG":"EdDSA","kid":"k"}`,
		"alg twice":              `{"alg":"EdDSA","alg":"EdDSA","kid":"k"}`,
		"twice deep":             `{"alg":"EdDSA","kid":"k","x":{"a":1,"a":2}}`,
		"crit":                   `{"alg":"EdDSA","kid":"k","crit":["exp"],"exp":1}`,
		"empty crit":             `{"alg":"EdDSA","kid":"k","crit":[]}`,
		"null crit":              `{"alg":"EdDSA","kid":"k","crit":null}`,
		"b64":                    `{"alg":"EdDSA","kid":"k","b64":false}`,
		"zip":                    `{"alg":"EdDSA","kid":"k","zip":"DEF"}`,
		"kid a number":           `{"alg":"EdDSA","kid":1}`,
		"a list":                 `["EdDSA"]`,
		"rest":                   `{"alg":"EdDSA","kid":"k"} {}`,
		"comment":                `{"alg":"EdDSA",/**/"kid":"k"}`,
		"other kid":              `{"alg":"EdDSA","kid":"K"}`,
		"hmac by the public key": `{"alg":"HS256","kid":"k"}`,
		"long kid":               `{"alg":"EdDSA","kid":"` + strings.Repeat("k", 300) + `"}`,
	}
	for name, header := range bad {
		signed := b64(header) + "." + b64(`{}`)
		signature, err := s.sign([]byte(signed))
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(signed + "." + encode(signature))
		if err == nil {
			_, err = p.Verify(set)
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", ".", "..", "a.b", "a.b.c.d", "e30.e30.", strings.Repeat("a", MaxTokenBytes+1)} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%.20q: accepted", text)
		}
	}
	// A key that comes along is not looked at.
	own, _ := signer(t, "k", edwardsKey(t))
	brought, err := PublicSet(own)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64(`{"alg":"EdDSA","kid":"k","jwk":`+strings.TrimSuffix(strings.TrimPrefix(string(brought), `{"keys":[`), `]}`)+`}`) + "." + b64(`{}`)
	signature, err := own.sign([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := Parse(signed + "." + encode(signature)); err != nil {
		t.Error(err)
	} else if _, err := p.Verify(set); !errors.Is(err, ErrSignature) {
		t.Errorf("a key of the token's own: %v", err)
	}
}

func TestKeySets(t *testing.T) {
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" // RFC 8037, appendix A.2
	good := `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"` + x + `"`
	even := encode(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())
	bad := map[string]string{
		"no list":            `{}`,
		"null":               `{"keys":null}`,
		"a private key":      `{"keys":[` + good + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}]}`,
		"a secret":           `{"keys":[` + good + `},{"kty":"oct","k":"` + b64(strings.Repeat("k", 32)) + `"}]}`,
		"a name twice":       `{"keys":[` + good + `},` + good + `}]}`,
		"a member twice":     `{"keys":[` + good + `,"kid":"a"}]}`,
		"short point":        `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`,
		"padded":             `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `="}]}`,
		"not canonical":      `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x[:len(x)-1] + `p"}]}`,
		"off the curve":      `{"keys":[{"kty":"EC","crv":"P-256","x":"` + encode(make([]byte, 32)) + `","y":"` + encode(make([]byte, 32)) + `"}]}`,
		"short modulus":      `{"keys":[{"kty":"RSA","n":"` + encode([]byte{1, 1}) + `","e":"AQAB"}]}`,
		"even modulus":       `{"keys":[{"kty":"RSA","n":"` + even + `","e":"AQAB"}]}`,
		"zeros before it":    `{"keys":[{"kty":"RSA","n":"AA` + even + `","e":"AQAB"}]}`,
		"exponent one":       `{"keys":[{"kty":"RSA","n":"` + encode(append([]byte{0x80}, make([]byte, 254)...)) + `AQ","e":"AQ"}]}`,
		"alg of another":     `{"keys":[` + good + `,"alg":"RS256"}]}`,
		"a name too long":    `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"` + strings.Repeat("k", 300) + `"}]}`,
		"too many":           `{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"x"},`, maxKeys+1), ",") + `]}`,
		"too long":           `{"keys":[]}` + strings.Repeat(" ", MaxKeySetBytes),
		"a key that is text": `{"keys":["a"]}`,
	}
	for name, text := range bad {
		if set, err := ParseKeySet([]byte(text), KeySetOptions{}); err == nil {
			t.Errorf("%s: %d keys", name, set.Keys())
		}
	}
	for name, text := range map[string]string{
		"an unknown kind":    `{"kty":"AKP","alg":"ML-DSA-44"}`,
		"another curve":      `{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`,
		"for encryption":     good[:len(good)-len(`,"x":"`+x+`"`)] + `,"use":"enc","x":"` + x + `"}`,
		"for signing only":   good + `,"key_ops":["sign"]}`,
		"for an unknown alg": good + `,"alg":"XYZ"}`,
	} {
		if set, err := ParseKeySet([]byte(`{"keys":[`+text+`]}`), KeySetOptions{}); err != nil || set.Keys() != 0 {
			t.Errorf("%s: %d keys, %v", name, set.Keys(), err)
		}
	}
	set, err := ParseKeySet([]byte(`{"keys":[`+good+`,"use":"sig","key_ops":["verify"],"alg":"EdDSA","x5c":["…"]}],"more":1}`), KeySetOptions{})
	if err != nil || set.Keys() != 1 || !set.Has("a") || set.Has("b") {
		t.Errorf("a good set: %+v, %v", set, err)
	}
}

func TestClaims(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	expected := Expected{Issuer: "https://id.example", Audiences: []string{"poterne", "other"}, Skew: time.Minute, Required: []string{"org"}}
	tests := map[string]struct {
		claims string
		want   error
	}{
		"good":             {`{"iss":"https://id.example","aud":"poterne","exp":1800000001,"org":"acme"}`, nil},
		"within the skew":  {`{"iss":"https://id.example","aud":["x","other"],"exp":1799999941,"nbf":1800000059,"iat":1800000060,"org":"acme"}`, nil},
		"a fraction":       {`{"iss":"https://id.example","aud":"poterne","exp":1800000000.5,"org":"acme"}`, nil},
		"expired":          {`{"iss":"https://id.example","aud":"poterne","exp":1799999940,"org":"acme"}`, ErrExpired},
		"never expires":    {`{"iss":"https://id.example","aud":"poterne","org":"acme"}`, ErrMissing},
		"too early":        {`{"iss":"https://id.example","aud":"poterne","exp":1800009999,"nbf":1800000061,"org":"acme"}`, ErrTooEarly},
		"of the future":    {`{"iss":"https://id.example","aud":"poterne","exp":1800009999,"iat":1800000061,"org":"acme"}`, ErrTooEarly},
		"another issuer":   {`{"iss":"https://id.example/","aud":"poterne","exp":1800000001,"org":"acme"}`, ErrIssuer},
		"no issuer":        {`{"aud":"poterne","exp":1800000001,"org":"acme"}`, ErrIssuer},
		"no audience":      {`{"iss":"https://id.example","exp":1800000001,"org":"acme"}`, ErrAudience},
		"another audience": {`{"iss":"https://id.example","aud":["Poterne"],"exp":1800000001,"org":"acme"}`, ErrAudience},
		"no org":           {`{"iss":"https://id.example","aud":"poterne","exp":1800000001}`, ErrMissing},
		"empty org":        {`{"iss":"https://id.example","aud":"poterne","exp":1800000001,"org":""}`, ErrMissing},
	}
	for name, tt := range tests {
		c, err := ParseClaims([]byte(tt.claims))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.Check(expected, now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	aged := expected
	aged.MaxAge = time.Hour
	for claims, want := range map[string]error{
		`{"iss":"https://id.example","aud":"poterne","exp":1800999999,"org":"acme","iat":1799996341}`: nil,
		`{"iss":"https://id.example","aud":"poterne","exp":1800999999,"org":"acme","iat":1799996340}`: ErrExpired,
		`{"iss":"https://id.example","aud":"poterne","exp":1800999999,"org":"acme"}`:                  ErrMissing,
	} {
		c, err := ParseClaims([]byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(aged, now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", claims, err, want)
		}
	}
	for name, text := range map[string]string{
		"a list": `[]`, "exp twice": `{"exp":1,"exp":9}`, "twice deep": `{"a":[{"b":1,"b":2}]}`, "exp a text": `{"exp":"1800000001"}`,
		"exp null": `{"exp":null}`, "exp endless": `{"exp":1e400}`, "exp before 1970": `{"exp":-1}`, "exp far": `{"exp":1e18}`,
		"iss a list": `{"iss":["a"]}`, "aud a number": `{"aud":1}`, "aud of numbers": `{"aud":[1]}`, "aud null": `{"aud":null}`, "no text": "{\"sub\":\"\xff\"}",
		"deep": strings.Repeat(`{"a":`, maxClaimDepth+1) + "1" + strings.Repeat("}", maxClaimDepth+1), "rest": `{} {}`,
		"many audiences": `{"aud":[` + strings.TrimSuffix(strings.Repeat(`"a",`, maxAudiences+1), ",") + `]}`,
	} {
		if _, err := ParseClaims([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
