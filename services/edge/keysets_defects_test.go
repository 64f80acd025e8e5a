package edge_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// Each class of defect of key sets, in a set that has the key of a good token: keys
// that are for something else do not verify it, and sets that are doubtful are not
// read at all.
func TestDefectiveKeySets(t *testing.T) {
	key, spare := ecKey(t), ecKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	is := newTrusted(t)
	token := forge(`{"alg":"ES256","kid":"a"}`, payloadOf(is), by(t, key))
	pub := func(more string) string { return jwkOf(t, key.Public(), `,"kid":"a"`+more) }
	also := jwkOf(t, spare.Public(), `,"kid":"s"`)
	for name, tt := range map[string]struct {
		keys []string
		away bool // the set is not read
	}{
		"for encryption":      {[]string{pub(`,"use":"enc"`), also}, false},
		"to sign only":        {[]string{pub(`,"key_ops":["sign"]`), also}, false},
		"for nothing":         {[]string{pub(`,"key_ops":[]`), also}, false},
		"another algorithm":   {[]string{pub(`,"alg":"ECDH-ES"`), also}, false},
		"another name":        {[]string{jwkOf(t, key.Public(), `,"kid":"A"`), also}, false},
		"no name":             {[]string{jwkOf(t, key.Public(), ``), also}, false},
		"not there":           {[]string{also}, false},
		"no keys":             {nil, true},
		"a curve's neighbour": {[]string{strings.Replace(pub(""), "P-256", "P-384", 1), also}, true},
		"an impossible alg":   {[]string{pub(`,"alg":"RS256"`), also}, true},
		"private":             {[]string{pub(`,"d":"AAAA"`), also}, true},
		"a secret beside":     {[]string{pub(""), `{"kty":"oct","kid":"o","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`}, true},
		"two of one name":     {[]string{pub(""), jwkOf(t, spare.Public(), `,"kid":"a"`)}, true},
		"x twice":             {[]string{pub(`,"x":"AAAA"`), also}, true},
		"kid a number":        {[]string{jwkOf(t, key.Public(), `,"kid":1`), also}, true},
		"off the curve":       {[]string{strings.Replace(pub(""), `"y":"`, `"y":"AA`, 1), also}, true},
		"weak RSA beside":     {[]string{pub(""), jwkOf(t, weak.Public(), `,"kid":"w"`)}, true},
		"ROCA beside":         {[]string{pub(""), `{"kty":"RSA","kid":"w","e":"AQAB","n":"` + b64(roca()) + `"}`}, true},
		"even RSA beside":     {[]string{pub(""), `{"kty":"RSA","kid":"w","e":"AQAB","n":"` + b64(append(append([]byte{0x80}, make([]byte, 254)...), 2)) + `"}`}, true},
		"exponent one":        {[]string{pub(""), `{"kty":"RSA","kid":"w","e":"AQ","n":"` + b64(append(append([]byte{0x80}, make([]byte, 254)...), 1)) + `"}`}, true},
	} {
		is.publish([]byte(`{"keys":[` + strings.Join(tt.keys, ",") + `]}`))
		g := open(t, is.trust)
		_, conn := g.serve()
		refusal{g, conn}.check(name, token, tt.away)
	}
	is.publish([]byte(`{"keys":[` + pub("") + `,` + also + `,{"kty":"future"}]}`))
	g := open(t, is.trust)
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+token); a.status != 200 {
		t.Errorf("the good set: %d %s", a.status, a.text)
	}
}

func payloadOf(is *trusted) string {
	text, err := json.Marshal(is.claims(nil))
	if err != nil {
		is.t.Fatal(err)
	}
	return string(text)
}

// roca is a modulus as the broken generator made them: a power of 65537 modulo the
// product of small primes.
func roca() []byte {
	product := big.NewInt(1)
	for p := int64(2); p < 200; p++ {
		if big.NewInt(p).ProbablyPrime(8) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(1234567), product)
	k := new(big.Int).Lsh(big.NewInt(1), 2047)
	k.Sub(k, new(big.Int).Mod(k, product)).Add(k, product).Add(k, n) // 2048 bits, and n modulo the product
	if k.Bit(0) == 0 {
		k.Add(k, product)
	}
	return k.Bytes()
}

// RSA has defects of its own: the salt of PSS, and one padding in the other's place.
func TestDefectiveRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	is := newTrusted(t)
	is.publish([]byte(`{"keys":[` + jwkOf(t, key.Public(), `,"kid":"r"`) + `]}`))
	g := open(t, is.trust)
	_, conn := g.serve()
	pss := func(salt int) func([]byte) []byte {
		return func(signed []byte) []byte {
			digest := sha256.Sum256(signed)
			out, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	pkcs1 := func(signed []byte) []byte {
		digest := sha256.Sum256(signed)
		out, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	payload := payloadOf(is)
	for _, tt := range []struct {
		head string
		sign func([]byte) []byte
	}{{`{"alg":"PS256","kid":"r"}`, pss(32)}, {`{"alg":"RS256","kid":"r"}`, pkcs1}} {
		if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+forge(tt.head, payload, tt.sign)); a.status != 200 {
			t.Fatalf("%s: %d %s", tt.head, a.status, a.text)
		}
	}
	for name, token := range map[string]string{
		"no salt":            forge(`{"alg":"PS256","kid":"r"}`, payload, pss(0)),
		"a short salt":       forge(`{"alg":"PS256","kid":"r"}`, payload, pss(20)),
		"a long salt":        forge(`{"alg":"PS256","kid":"r"}`, payload, pss(64)),
		"PKCS1 as PSS":       forge(`{"alg":"PS256","kid":"r"}`, payload, pkcs1),
		"PSS as PKCS1":       forge(`{"alg":"RS256","kid":"r"}`, payload, pss(32)),
		"another hash":       forge(`{"alg":"RS512","kid":"r"}`, payload, pkcs1),
		"a zero byte before": forge(`{"alg":"RS256","kid":"r"}`, payload, func(s []byte) []byte { return append([]byte{0}, pkcs1(s)...) }),
		"a byte short":       forge(`{"alg":"RS256","kid":"r"}`, payload, func(s []byte) []byte { return pkcs1(s)[1:] }),
		"the modulus":        forge(`{"alg":"RS256","kid":"r"}`, payload, func([]byte) []byte { return key.N.Bytes() }),
		"one":                forge(`{"alg":"RS256","kid":"r"}`, payload, func([]byte) []byte { return append(make([]byte, 255), 1) }),
		"the key as ES256":   forge(`{"alg":"ES256","kid":"r"}`, payload, func([]byte) []byte { return make([]byte, 64) }),
	} {
		refusal{g, conn}.check(name, token, false)
	}
}

// What an issuer must not do to be believed, over HTTP.
func TestDefectiveIssuers(t *testing.T) {
	key := ecKey(t)
	set := `{"keys":[` + jwkOf(t, key.Public(), `,"kid":"a"`) + `]}`
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, own string){
		"another's configuration": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"https://accounts.example","jwks_uri":"%s/keys"}`, own)
		},
		"a configuration with a slash": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"%s/","jwks_uri":"%s/keys"}`, own, own)
		},
		"its name twice": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"%s","issuer":"%s","jwks_uri":"%s/keys"}`, own, own, own)
		},
		"keys in the clear": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"http://192.0.2.1/keys"}`, own)
		},
		"keys in a file": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"file:///etc/passwd"}`, own)
		},
		"a configuration without end": func(w http.ResponseWriter, _ *http.Request, own string) {
			fmt.Fprintf(w, `{"issuer":"%s","x":"%s"`, own, strings.Repeat("x", 300<<10))
		},
		"a redirect to its configuration": func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		},
		"a redirect to its keys": func(w http.ResponseWriter, r *http.Request, own string) {
			if r.URL.Path == "/keys" {
				http.Redirect(w, r, "/more", http.StatusFound)
				return
			}
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/keys"}`, own, own)
		},
		"keys without end": func(w http.ResponseWriter, r *http.Request, own string) {
			if r.URL.Path == "/keys" {
				_, _ = w.Write([]byte(strings.TrimSuffix(set, "}") + `,"x":"` + strings.Repeat("x", 600<<10) + `"}`))
				return
			}
			fmt.Fprintf(w, `{"issuer":"%s","jwks_uri":"%s/keys"}`, own, own)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		own := serveIssuer(t, answer)
		g := open(t, func(c *edge.Config) {
			onFreePorts(c)
			c.Security.Tokens.Issuers = []edge.TokenIssuer{{Issuer: own, Audiences: []string{"poterne"}}}
		})
		_, conn := g.serve()
		is := &trusted{t: t}
		claims, err := json.Marshal(is.claims(map[string]any{"iss": own}))
		if err != nil {
			t.Fatal(err)
		}
		refusal{g, conn}.check(name, forge(`{"alg":"ES256","kid":"a"}`, string(claims), by(t, key)), true)
	}
}
