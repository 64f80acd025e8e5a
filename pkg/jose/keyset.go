package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of a key set.
const (
	// MaxKeySetBytes bounds a set's text.
	MaxKeySetBytes = 512 << 10
	maxKeys        = 256
	minRSABits     = 2048
	maxRSABits     = 8192
	maxNameBytes   = 256
)

// Key verifies signatures. It is not changed once made, and safe for concurrent
// use.
type Key struct {
	// ID is the key's name in its set; empty where it has none.
	ID         string
	algorithms []Algorithm
	key        any
}

// Verifies reports whether the key is one for the algorithm.
func (k Key) Verifies(a Algorithm) bool { return slices.Contains(k.algorithms, a) }

// KeySet is the keys of one issuer. It is not changed once made.
type KeySet struct{ keys []Key }

// Keys returns how many keys there are.
func (s KeySet) Keys() int { return len(s.keys) }

// Has reports whether there is a key of that name.
func (s KeySet) Has(id string) bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return k.ID == id })
}

// jwk is a member of a set as it is written. What is private has names of its own,
// so that its presence shows.
type jwk struct {
	Kty string   `json:"kty"`
	Use string   `json:"use"`
	Ops []string `json:"key_ops"`
	Alg string   `json:"alg"`
	Kid string   `json:"kid"`
	Crv string   `json:"crv"`
	N   string   `json:"n"`
	E   string   `json:"e"`
	X   string   `json:"x"`
	Y   string   `json:"y"`
	K   string   `json:"k"`

	D   jsontext.Value `json:"d"`
	P   jsontext.Value `json:"p"`
	Q   jsontext.Value `json:"q"`
	DP  jsontext.Value `json:"dp"`
	DQ  jsontext.Value `json:"dq"`
	QI  jsontext.Value `json:"qi"`
	Oth jsontext.Value `json:"oth"`
}

// KeySetOptions say what a set may hold.
type KeySetOptions struct {
	// Secrets lets it hold symmetric keys, and nothing else. A set that is published
	// must not.
	Secrets bool
}

// ParseKeySet reads a JWK set. Keys of an unknown kind, and those that are for
// something else than signatures, are left out, as RFC 7517 (section 5) has it;
// whatever is doubtful spoils the set: a private key, a secret among public keys,
// a name twice, a member twice, a key that is no key.
func ParseKeySet(text []byte, o KeySetOptions) (KeySet, error) {
	if len(text) > MaxKeySetBytes {
		return KeySet{}, fmt.Errorf("key set: %d bytes are more than %d", len(text), MaxKeySetBytes)
	}
	var in struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return KeySet{}, fmt.Errorf("key set: it is no JSON object with keys: %w", err)
	}
	if in.Keys == nil || len(in.Keys) > maxKeys {
		return KeySet{}, fmt.Errorf("key set: it must have the member keys, a list of at most %d", maxKeys)
	}
	var out KeySet
	for i, text := range in.Keys {
		var j jwk
		if err := json.Unmarshal(text, &j); err != nil {
			return KeySet{}, fmt.Errorf("key set: key %d: %w", i, err)
		}
		k, err := j.key(o)
		switch {
		case errors.Is(err, errOtherPurpose):
			continue
		case err != nil:
			return KeySet{}, fmt.Errorf("key set: key %d: %w", i, err)
		case k.ID != "" && out.Has(k.ID):
			return KeySet{}, fmt.Errorf("key set: key %d: its kid is another's too", i)
		}
		out.keys = append(out.keys, k)
	}
	return out, nil
}

// errOtherPurpose says that a key is none that verifies signatures here.
var errOtherPurpose = errors.New("it is for something else")

func (j *jwk) key(o KeySetOptions) (Key, error) {
	if j.private() {
		return Key{}, errors.New("it is private, and no longer a secret")
	}
	if len(j.Kid) > maxNameBytes {
		return Key{}, fmt.Errorf("its kid is longer than %d bytes", maxNameBytes)
	}
	if symmetric := j.Kty == "oct"; symmetric != o.Secrets && (symmetric || o.Secrets) {
		return Key{}, fmt.Errorf("kty %q is not for this set: who verifies by a secret can also sign", j.Kty)
	}
	var key any
	var err error
	switch j.Kty {
	case "RSA":
		key, err = j.rsa()
	case "EC":
		key, err = j.ellipticCurve()
	case "OKP":
		key, err = j.edwards()
	case "oct":
		key, err = octets("k", j.K, 0)
	default:
		return Key{}, errOtherPurpose
	}
	if err != nil {
		return Key{}, err
	}
	if j.Use != "" && j.Use != "sig" || j.Ops != nil && !slices.Contains(j.Ops, "verify") {
		return Key{}, errOtherPurpose
	}
	algorithms := algorithmsOf(key)
	if j.Alg != "" {
		named := Algorithm(j.Alg)
		if !named.Known() {
			return Key{}, errOtherPurpose
		}
		if !slices.Contains(algorithms, named) {
			return Key{}, errors.New("it cannot be a key for the alg that it names")
		}
		algorithms = []Algorithm{named}
	}
	if len(algorithms) == 0 {
		return Key{}, errors.New("it is too short")
	}
	return Key{ID: j.Kid, algorithms: algorithms, key: key}, nil
}

// private reports whether the key has a member that only its holder should know.
func (j *jwk) private() bool {
	secret := j.K != "" && j.Kty != "oct"
	for _, member := range []jsontext.Value{j.D, j.P, j.Q, j.DP, j.DQ, j.QI, j.Oth} {
		secret = secret || member != nil
	}
	return secret
}

func (j *jwk) rsa() (any, error) {
	n, err := number("n", j.N)
	if err != nil {
		return nil, err
	}
	e, err := number("e", j.E)
	if err != nil {
		return nil, err
	}
	const maxExponent = 1<<31 - 1
	switch bits := n.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return nil, fmt.Errorf("an RSA modulus of %d bits is not between %d and %d", bits, minRSABits, maxRSABits)
	case n.Bit(0) == 0:
		return nil, errors.New("its RSA modulus is even")
	case !e.IsInt64() || e.Int64() < 3 || e.Int64() > maxExponent || e.Bit(0) == 0:
		return nil, errors.New("its RSA exponent is not an odd number from 3 to 2^31-1")
	case factorable(n):
		return nil, errors.New("its RSA modulus is of a generator whose keys can be factored (CVE-2017-15361)")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (j *jwk) ellipticCurve() (any, error) {
	var curve elliptic.Curve
	switch j.Crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, errOtherPurpose
	}
	size := coordinateSize(curve.Params().BitSize)
	x, err := octets("x", j.X, size)
	if err != nil {
		return nil, err
	}
	y, err := octets("y", j.Y, size)
	if err != nil {
		return nil, err
	}
	const uncompressed = 4 // SEC 1, section 2.3.3
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{uncompressed}, x, y))
	if err != nil {
		return nil, errors.New("its point is not on the curve")
	}
	return key, nil
}

func (j *jwk) edwards() (any, error) {
	if j.Crv != "Ed25519" {
		return nil, errOtherPurpose
	}
	x, err := octets("x", j.X, ed25519.PublicKeySize)
	return ed25519.PublicKey(x), err
}

// octets decodes a member of exactly so many bytes; 0 for any number but none.
func octets(member, text string, size int) ([]byte, error) {
	b, err := decode(text)
	if err != nil || len(b) == 0 || size > 0 && len(b) != size {
		return nil, fmt.Errorf("its member %s is not what it must be", member)
	}
	return b, nil
}

// number decodes a Base64urlUInt (RFC 7518, section 2): no zero bytes before.
func number(member, text string) (*big.Int, error) {
	b, err := octets(member, text, 0)
	if err != nil {
		return nil, err
	}
	if b[0] == 0 {
		return nil, fmt.Errorf("its member %s has zero bytes before the number", member)
	}
	return new(big.Int).SetBytes(b), nil
}
