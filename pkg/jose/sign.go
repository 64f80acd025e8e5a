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

// Sign returns a token of the type (its header's typ) that says claims, which must
// encode to a JSON object.
func (s *Signer) Sign(typ string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("token: encode the claims: %w", err)
	}
	head, err := json.Marshal(struct {
		Alg Algorithm `json:"alg"`
		Kid string    `json:"kid"`
		Typ string    `json:"typ,omitempty"`
	}{s.algorithm, s.id, typ})
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

// PublicSet returns the JWK set of the signers' public keys, for others to verify
// by.
func PublicSet(signers ...*Signer) ([]byte, error) {
	type public struct {
		Kty string    `json:"kty"`
		Kid string    `json:"kid"`
		Use string    `json:"use"`
		Alg Algorithm `json:"alg"`
		Crv string    `json:"crv,omitempty"`
		N   string    `json:"n,omitempty"`
		E   string    `json:"e,omitempty"`
		X   string    `json:"x,omitempty"`
		Y   string    `json:"y,omitempty"`
	}
	keys := make([]public, 0, len(signers))
	for _, s := range signers {
		p := public{Kid: s.id, Use: "sig", Alg: s.algorithm}
		switch key := s.key.Public().(type) {
		case ed25519.PublicKey:
			p.Kty, p.Crv, p.X = "OKP", "Ed25519", encode(key)
		case *ecdsa.PublicKey:
			point, err := key.Bytes()
			if err != nil {
				return nil, fmt.Errorf("token: encode key %s: %w", s.id, err)
			}
			size := coordinateSize(key.Curve.Params().BitSize)
			p.Kty, p.Crv, p.X, p.Y = "EC", key.Curve.Params().Name, encode(point[1:1+size]), encode(point[1+size:])
		case *rsa.PublicKey:
			p.Kty, p.N, p.E = "RSA", encode(key.N.Bytes()), encode(exponent(key.E))
		}
		keys = append(keys, p)
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
