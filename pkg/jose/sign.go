package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Signer signs tokens by one private key. It is safe for concurrent use.
type Signer struct {
	id        string
	algorithm Algorithm
	key       crypto.Signer
}

// NewSigner returns a signer whose key has that name in the set that is published.
// The algorithm is the key's own: EdDSA, that of its curve, or RS256.
func NewSigner(id string, key crypto.Signer) (*Signer, error) {
	public := key.Public()
	algorithms := algorithmsOf(public)
	if len(algorithms) == 0 || id == "" || len(id) > maxNameBytes {
		return nil, errors.New("token: no key, or no name, to sign with")
	}
	return &Signer{id: id, algorithm: algorithms[0], key: key}, nil
}

// KeyID is the key's name.
func (s *Signer) KeyID() string { return s.id }

// Thumbprint is that of the public key; see Key.Thumbprint.
func (s *Signer) Thumbprint() string { return Key{key: s.key.Public()}.Thumbprint() }

// Sign returns a token of the type (its header's typ) that says claims, which must
// encode to a JSON object.
func (s *Signer) Sign(typ string, claims any) (string, error) {
	return s.token(signedHeader{Alg: s.algorithm, Kid: s.id, Typ: typ}, claims)
}

// SignEmbedding is Sign with the public key itself in the header, as jwk, in the
// place of its name: proofs are made so (RFC 9449, section 4.2).
func (s *Signer) SignEmbedding(typ string, claims any) (string, error) {
	key, err := publicJWK(s.key.Public())
	if err != nil {
		return "", err
	}
	return s.token(signedHeader{Alg: s.algorithm, Typ: typ, JWK: &key}, claims)
}

type signedHeader struct {
	Alg Algorithm `json:"alg"`
	Kid string    `json:"kid,omitempty"`
	Typ string    `json:"typ,omitempty"`
	JWK *public   `json:"jwk,omitempty"`
}

func (s *Signer) token(header signedHeader, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("token: encode the claims: %w", err)
	}
	head, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("token: encode the header: %w", err)
	}
	signed := encode(head) + "." + encode(payload)
	signature, err := s.sign([]byte(signed))
	if err != nil {
		return "", fmt.Errorf("token: sign: %w", err)
	}
	return signed + "." + encode(signature), nil
}

func (s *Signer) sign(signed []byte) ([]byte, error) {
	_, hash := s.algorithm.family()
	digest := signed
	if hash != 0 {
		h := hash.New()
		h.Write(signed)
		digest = h.Sum(nil)
	}
	key, ok := s.key.(*ecdsa.PrivateKey)
	if !ok {
		return s.key.Sign(rand.Reader, digest, hash)
	}
	// JWS has r and s beside each other, each as long as the curve's numbers.
	r, v, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	size := coordinateSize(key.Curve.Params().BitSize)
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	v.FillBytes(out[size:])
	return out, nil
}

// public is a public key as a JWK.
type public struct {
	Kty string    `json:"kty"`
	Kid string    `json:"kid,omitempty"`
	Use string    `json:"use,omitempty"`
	Alg Algorithm `json:"alg,omitempty"`
	Crv string    `json:"crv,omitempty"`
	N   string    `json:"n,omitempty"`
	E   string    `json:"e,omitempty"`
	X   string    `json:"x,omitempty"`
	Y   string    `json:"y,omitempty"`
}

func publicJWK(key crypto.PublicKey) (public, error) {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return public{Kty: "OKP", Crv: "Ed25519", X: encode(key)}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return public{}, fmt.Errorf("token: encode a key: %w", err)
		}
		size := coordinateSize(key.Curve.Params().BitSize)
		return public{Kty: "EC", Crv: key.Curve.Params().Name, X: encode(point[1 : 1+size]), Y: encode(point[1+size:])}, nil
	case *rsa.PublicKey:
		return public{Kty: "RSA", N: encode(key.N.Bytes()), E: encode(exponent(key.E))}, nil
	default:
		return public{}, errors.New("token: no public key of a kind that is known")
	}
}

// PublicKey returns the public key as a JWK with its name, for a set.
func (s *Signer) PublicKey() ([]byte, error) {
	p, err := publicJWK(s.key.Public())
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", s.id, err)
	}
	p.Kid, p.Use, p.Alg = s.id, "sig", s.algorithm
	return json.Marshal(p)
}

// PublicSet returns the JWK set of the signers' public keys, for others to verify
// by.
func PublicSet(signers ...*Signer) ([]byte, error) {
	keys := make([]jsontext.Value, 0, len(signers))
	for _, s := range signers {
		key, err := s.PublicKey()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return json.Marshal(map[string]any{"keys": keys})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// exponent is e in as few bytes as it takes.
func exponent(e int) (out []byte) {
	for ; e > 0; e >>= 8 {
		out = append([]byte{byte(e)}, out...)
	}
	return out
}
