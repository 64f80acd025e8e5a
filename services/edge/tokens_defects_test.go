package edge_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// forge makes a token of exactly this header and payload, signed as sign does.
func forge(header, payload string, sign func(signed []byte) []byte) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	return signed + "." + b64(sign([]byte(signed)))
}

// by signs as ES256 does.
func by(t *testing.T, key *ecdsa.PrivateKey) func([]byte) []byte {
	t.Helper()
	return func(signed []byte) []byte {
		digest := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwkOf is a public key as a JWK, with more members.
func jwkOf(t *testing.T, key crypto.PublicKey, more string) string {
	t.Helper()
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return `{"kty":"EC","crv":"P-256","x":"` + b64(point[1:33]) + `","y":"` + b64(point[33:]) + `"` + more + `}`
	case *rsa.PublicKey:
		return `{"kty":"RSA","e":"AQAB","n":"` + b64(key.N.Bytes()) + `"` + more + `}`
	default:
		t.Fatalf("%T", key)
		return ""
	}
}

// refusal is how a refused token is answered, over REST and over gRPC, whatever is
// wrong with it.
type refusal struct {
	g    *gate
	conn *grpc.ClientConn
}

func (r refusal) check(name, token string, away bool) {
	t := r.g.t
	t.Helper()
	a := r.g.do("GET", "/v1/models", "", "Authorization", "Bearer "+token)
	code, md, text := rpc(t, r.conn, "authorization", "Bearer "+token)
	if away {
		if a.status != http.StatusServiceUnavailable || code != codes.Unavailable || a.header.Get("Retry-After") == "" || strings.Contains(a.text+text, "127.0.0.1") {
			t.Errorf("%s: %d %s, %v %s", name, a.status, a.text, code, text)
		}
		return
	}
	const says = "the credentials are not valid: they are unknown, malformed, expired or revoked"
	challenge := `Bearer realm="poterne", error="invalid_token"`
	if a.status != http.StatusUnauthorized || a.at("error", "message") != says || a.header.Get("Www-Authenticate") != challenge {
		t.Errorf("%s: %d %v %s", name, a.status, a.header, a.text)
	}
	if got := md.Get("www-authenticate"); code != codes.Unauthenticated || text != says || len(got) == 0 || got[0] != challenge {
		t.Errorf("%s over gRPC: %v %q %v", name, code, text, md)
	}
}

// Each class of defect that Wycheproof has vectors of, in a token that is good
// otherwise.
func TestDefectiveTokens(t *testing.T) {
	is := newTrusted(t)
	key := ecKey(t)
	is.publish([]byte(`{"keys":[` + jwkOf(t, key.Public(), `,"kid":"a","alg":"ES256","use":"sig"`) + `]}`))
	g := open(t, is.trust)
	_, conn := g.serve()
	r := refusal{g, conn}
	const head = `{"alg":"ES256","kid":"a","typ":"at+jwt"}`
	now := time.Now().Unix()
	body := func(more string) string {
		return fmt.Sprintf(`{"iss":%q,"aud":"poterne","sub":"ana","tenant":"acme","roles":["developer"],"iat":%d,"exp":%d%s}`, issuerName, now, now+600, more)
	}
	// with replaces one claim by a text of JSON.
	with := func(name, value string) string {
		var c map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body("")), &c); err != nil {
			t.Fatal(err)
		}
		delete(c, name)
		rest, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(rest), "}") + `,"` + name + `":` + value + `}`
	}
	ok := by(t, key)
	good := forge(head, body(""), ok)
	parts := strings.Split(good, ".")
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+good); a.status != 200 {
		t.Fatalf("the good one: %d %s", a.status, a.text)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	secret := func(k []byte) func([]byte) []byte {
		return func(signed []byte) []byte {
			mac := hmac.New(sha256.New, k)
			mac.Write(signed)
			return mac.Sum(nil)
		}
	}
	fixed := func(b []byte) func([]byte) []byte { return func([]byte) []byte { return b } }
	other := ecKey(t)
	order := elliptic.P256().Params().N
	raw, _ := base64.RawURLEncoding.DecodeString(parts[2])
	for name, token := range map[string]string{
		// The algorithm.
		"alg none":                    forge(`{"alg":"none","kid":"a","typ":"at+jwt"}`, body(""), fixed(nil)),
		"alg none, in capitals":       forge(`{"alg":"NONE","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"no alg":                      forge(`{"kid":"a","typ":"at+jwt"}`, body(""), ok),
		"alg empty":                   forge(`{"alg":"","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"alg a list":                  forge(`{"alg":["ES256"],"kid":"a","typ":"at+jwt"}`, body(""), ok),
		"alg in small":                forge(`{"alg":"es256","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"a secret: the point":         forge(`{"alg":"HS256","kid":"a","typ":"at+jwt"}`, body(""), secret(point)),
		"a secret: the key in DER":    forge(`{"alg":"HS256","kid":"a","typ":"at+jwt"}`, body(""), secret(spki)),
		"another curve's alg":         forge(`{"alg":"ES384","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"another kind's alg":          forge(`{"alg":"RS256","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"an alg that is not the keys": forge(`{"alg":"ES256K","kid":"a","typ":"at+jwt"}`, body(""), ok),
		// The header.
		"crit unknown":          forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","crit":["x"],"x":1}`, body(""), ok),
		"crit empty":            forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","crit":[]}`, body(""), ok),
		"crit null":             forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","crit":null}`, body(""), ok),
		"crit of what is known": forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","crit":["alg"]}`, body(""), ok),
		"b64":                   forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","b64":false,"crit":["b64"]}`, body(""), ok),
		"b64 uncritical":        forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","b64":false}`, body(""), ok),
		"zip":                   forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","zip":"DEF"}`, body(""), ok),
		"alg twice":             forge(`{"alg":"ES256","alg":"ES256","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"alg twice, escaped":    forge(`{"alg":"ES256","\u0061lg":"none","kid":"a","typ":"at+jwt"}`, body(""), ok),
		"a list":                forge(`["ES256"]`, body(""), ok),
		"more behind":           forge(head+`{}`, body(""), ok),
		"a header of two bytes": forge("\xff\xfe", body(""), ok),
		"another type":          forge(`{"alg":"ES256","kid":"a","typ":"dpop+jwt"}`, body(""), ok),
		"another kid":           forge(`{"alg":"ES256","kid":"b","typ":"at+jwt"}`, body(""), ok),
		"kid a path":            forge(`{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}`, body(""), ok),
		"kid long":              forge(`{"alg":"ES256","kid":"`+strings.Repeat("a", 300)+`","typ":"at+jwt"}`, body(""), ok),
		"a key along":           forge(`{"alg":"ES256","typ":"at+jwt","jwk":`+jwkOf(t, other.Public(), "")+`}`, body(""), by(t, other)),
		"a key along, named a":  forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","jwk":`+jwkOf(t, other.Public(), `,"kid":"a"`)+`}`, body(""), by(t, other)),
		"a set's URL along":     forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","jku":"`+g.url+`"}`, body(""), by(t, other)),
		"a certificate along":   forge(`{"alg":"ES256","kid":"a","typ":"at+jwt","x5c":["AAAA"],"x5u":"`+g.url+`"}`, body(""), by(t, other)),
		// The form.
		"padding":            good + "==",
		"padding within":     parts[0] + "=." + parts[1] + "." + parts[2],
		"unused bits":        parts[0] + "." + parts[1] + "." + parts[2][:85] + next(parts[2][85]),
		"not for URLs":       parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 43),
		"a space":            parts[0] + "." + parts[1] + ". " + parts[2],
		"two parts":          parts[0] + "." + parts[1],
		"four parts":         good + ".",
		"five parts":         good + ".AAAA.AAAA",
		"no payload":         parts[0] + ".." + parts[2],
		"too large":          forge(head, body(`,"x":"`+strings.Repeat("x", 7000)+`"`), ok),
		"another's payload":  parts[0] + "." + b64([]byte(with("sub", `"eve"`))) + "." + parts[2],
		"in JSON":            `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a zero byte behind": parts[0] + "." + parts[1] + "." + b64(append(raw[:64:64], 0)),
		// The signature.
		"none":      parts[0] + "." + parts[1] + ".",
		"another's": forge(head, body(""), by(t, other)),
		"DER": forge(head, body(""), func(s []byte) []byte {
			d := sha256.Sum256(s)
			out, _ := ecdsa.SignASN1(rand.Reader, key, d[:])
			return out
		}),
		"zeros":             forge(head, body(""), fixed(make([]byte, 64))),
		"r zero":            forge(head, body(""), func(s []byte) []byte { return append(make([]byte, 32), ok(s)[32:]...) }),
		"s zero":            forge(head, body(""), func(s []byte) []byte { return append(ok(s)[:32], make([]byte, 32)...) }),
		"r and s the order": forge(head, body(""), fixed(append(order.Bytes(), order.Bytes()...))),
		"r beyond the order": forge(head, body(""), func(s []byte) []byte {
			b := ok(s)
			return append(new(big.Int).Add(order, big.NewInt(1)).Bytes(), b[32:]...)
		}),
		"one byte short":   forge(head, body(""), func(s []byte) []byte { return ok(s)[:63] }),
		"half":             forge(head, body(""), func(s []byte) []byte { return ok(s)[:32] }),
		"a byte too many":  forge(head, body(""), func(s []byte) []byte { return append([]byte{0}, ok(s)...) }),
		"swapped":          forge(head, body(""), func(s []byte) []byte { b := ok(s); return append(b[32:64:64], b[:32]...) }),
		"twice as long":    forge(head, body(""), func(s []byte) []byte { b := ok(s); return append(b, b...) }),
		"of the hash only": forge(head, body(""), func(s []byte) []byte { d := sha256.Sum256(s); return ok(d[:]) }),
		// The claims.
		"iss with a slash":      forge(head, with("iss", `"`+issuerName+`/"`), ok),
		"iss in capitals":       forge(head, with("iss", `"https://ID.example"`), ok),
		"iss with a port":       forge(head, with("iss", `"`+issuerName+`:443"`), ok),
		"iss a list":            forge(head, with("iss", `["`+issuerName+`"]`), ok),
		"iss null":              forge(head, with("iss", `null`), ok),
		"iss twice":             forge(head, body(`,"iss":"`+issuerName+`"`), ok),
		"a member twice inside": forge(head, body(`,"x":{"a":1,"a":2}`), ok),
		"aud a number":          forge(head, with("aud", `7`), ok),
		"aud an object":         forge(head, with("aud", `{"poterne":true}`), ok),
		"aud a mixed list":      forge(head, with("aud", `["poterne",7]`), ok),
		"aud an empty list":     forge(head, with("aud", `[]`), ok),
		"aud null":              forge(head, with("aud", `null`), ok),
		"aud in capitals":       forge(head, with("aud", `"Poterne"`), ok),
		"aud more than that":    forge(head, with("aud", `"poterne "`), ok),
		"exp as text":           forge(head, with("exp", strconv.Quote(strconv.FormatInt(now+600, 10))), ok),
		"exp NaN":               forge(head, with("exp", `NaN`), ok),
		"exp huge":              forge(head, with("exp", `1e300`), ok),
		"exp beyond numbers":    forge(head, with("exp", `1e999`), ok),
		"exp negative":          forge(head, with("exp", `-1`), ok),
		"exp true":              forge(head, with("exp", `true`), ok),
		"exp null":              forge(head, with("exp", `null`), ok),
		"exp over":              forge(head, with("exp", strconv.FormatInt(now-120, 10)), ok),
		"exp in milliseconds":   forge(head, with("exp", strconv.FormatInt(now*1000, 10)), ok),
		"nbf of the future":     forge(head, with("nbf", strconv.FormatInt(now+600, 10)), ok),
		"nbf as text":           forge(head, with("nbf", `"0"`), ok),
		"iat of the future":     forge(head, with("iat", strconv.FormatInt(now+600, 10)), ok),
		"too deep":              forge(head, body(`,"x":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)), ok),
		"too many claims":       forge(head, body(many(300)), ok),
		"no JSON":               forge(head, body("")+"x", ok),
		"not UTF-8":             forge(head, body(",\"x\":\"\xff\""), ok),
		"null":                  forge(head, "null", ok),
		"a list of claims":      forge(head, "["+body("")+"]", ok),
		"a tenant's neighbour":  forge(head, with("tenant", `"acme\u0000"`), ok),
		"a subject of lines":    forge(head, with("sub", `"ana\nX: y"`), ok),
		"the platform":          forge(head, with("tenant", `"default"`), ok),
	} {
		r.check(name, token, false)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+good); a.status != 200 {
		t.Errorf("the good one afterwards: %d %s", a.status, a.text)
	}
	trail := g.do("GET", "/v1/admin/audit?page_size=500", "")
	if strings.Contains(trail.text, "eyJ") || strings.Contains(trail.text, parts[2]) {
		t.Error("the trail has a token")
	}
}

// next is the next character of base64url: its last bits say nothing at the end.
func next(c byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(digits[(strings.IndexByte(digits, c)+1)%64])
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":1`, i)
	}
	return b.String()
}
