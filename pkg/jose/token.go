package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxTokenBytes bounds a token.
const MaxTokenBytes = 16 << 10

// ErrSignature is returned when no key of a set has made a token's signature.
var ErrSignature = errors.New("token: no key of the issuer has signed it")

// Token is a signed token whose form is right. Nothing that it says is true before
// Verify says so.
type Token struct {
	// Algorithm, KeyID and Type are of the header; empty where it has none.
	Algorithm Algorithm
	KeyID     string
	Type      string

	signed    string
	payload   []byte
	signature []byte
}

// header is a token's header as it is written. Members that would bring a key
// along (jwk, x5c), or have one fetched (jku, x5u), are of no use to who knows the
// issuer's keys; they are let stand and never looked at, but jwk by ParseEmbedded.
type header struct {
	Alg  string         `json:"alg"`
	Kid  string         `json:"kid"`
	Typ  string         `json:"typ"`
	Crit jsontext.Value `json:"crit"`
	B64  jsontext.Value `json:"b64"`
	Zip  jsontext.Value `json:"zip"`
	JWK  jsontext.Value `json:"jwk"`
}

// Parse reads a token in the compact serialisation: three parts in canonical
// base64url without padding, a header without a member twice, with an algorithm
// that is known, and without an extension: none is understood here, so that crit
// refuses the token as RFC 7515 (section 4.1.11) demands.
func Parse(token string) (*Token, error) {
	t, _, err := parse(token)
	return t, err
}

func parse(token string) (*Token, header, error) {
	if len(token) > MaxTokenBytes {
		return nil, header{}, fmt.Errorf("token: %d bytes are more than %d", len(token), MaxTokenBytes)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, header{}, errors.New("token: it has not three parts")
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := decode(part)
		if err != nil {
			return nil, header{}, fmt.Errorf("token: part %d is not in canonical base64url", i+1)
		}
		decoded[i] = b
	}
	var h header
	if err := json.Unmarshal(decoded[0], &h); err != nil {
		return nil, header{}, errors.New("token: its header is no JSON object, or has a member twice or of the wrong type")
	}
	switch {
	case h.Crit != nil || h.B64 != nil || h.Zip != nil:
		return nil, header{}, errors.New("token: its header asks for an extension")
	case !Algorithm(h.Alg).Known():
		return nil, header{}, errors.New("token: its algorithm is none that is known")
	case len(h.Kid) > maxNameBytes || len(h.Typ) > maxNameBytes:
		return nil, header{}, errors.New("token: a name in its header is too long")
	}
	return &Token{
		Algorithm: Algorithm(h.Alg), KeyID: h.Kid, Type: h.Typ,
		signed: token[:len(parts[0])+1+len(parts[1])], payload: decoded[1], signature: decoded[2],
	}, h, nil
}

// Verify returns the token's payload if a key of the set has signed it: the one
// that it names, or, where it names none, one that has the algorithm. A key with a
// name is never used for a token that has another. What is returned must not be
// changed.
func (t *Token) Verify(set KeySet) ([]byte, error) {
	for _, k := range set.keys {
		if t.KeyID != "" && k.ID != t.KeyID || !k.Verifies(t.Algorithm) {
			continue
		}
		if verify(k.key, t.Algorithm, []byte(t.signed), t.signature) {
			return t.payload, nil
		}
	}
	return nil, ErrSignature
}

// Unverified returns what the token says before anybody has looked whether it is
// true: to find out whose keys to verify it by.
func (t *Token) Unverified() []byte { return t.payload }

// decode reads base64url without padding, in its one canonical form: bits that say
// nothing are zero (RFC 4648, section 3.5), and there are no line breaks, which
// the library would skip.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line breaks in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}
