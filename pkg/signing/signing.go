// Package signing signs digests with Ed25519 (RFC 8032) and decides whether the
// signatures of something suffice. It knows nothing of what a digest names. Start
// reading at Policy.
package signing

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// prefix begins what is signed, so that a signature means nothing else.
const prefix = "poterne.version-signature/1\n"

// maxKeys bounds the keys that are trusted.
const maxKeys = 64

// Config says whose signatures count.
type Config struct {
	// Required refuses what no trusted key has signed.
	Required bool `yaml:"required"`
	// TrustedKeys are public keys: each 32 bytes in base64, or a PEM block PUBLIC KEY.
	TrustedKeys []string `yaml:"trusted_keys"`
}

// Validate notes what is wrong; section is the section's path.
func (c Config) Validate(p *config.Problems, section string) {
	_, err := NewPolicy(c)
	p.Check(err == nil, section+".trusted_keys", "%v", err)
	p.Check(!c.Required || len(c.TrustedKeys) > 0, section+".trusted_keys", "must name a key, since signatures are required")
}

// Signature is one over a digest.
type Signature interface {
	GetKeyId() string
	GetSignature() []byte
}

// Policy knows the trusted keys. The zero value requires nothing and trusts
// nobody. It is not changed once made.
type Policy struct {
	required bool
	keys     map[string]ed25519.PublicKey
}

// NewPolicy reads the keys.
func NewPolicy(cfg Config) (Policy, error) {
	p := Policy{required: cfg.Required, keys: make(map[string]ed25519.PublicKey, len(cfg.TrustedKeys))}
	if len(cfg.TrustedKeys) > maxKeys {
		return Policy{}, fmt.Errorf("there are %d keys, more than %d", len(cfg.TrustedKeys), maxKeys)
	}
	for i, text := range cfg.TrustedKeys {
		key, err := ParsePublic(text)
		if err != nil {
			return Policy{}, fmt.Errorf("key %d: %w", i+1, err)
		}
		p.keys[KeyID(key)] = key
	}
	return p, nil
}

// Required reports whether what nobody trusted has signed is refused.
func (p Policy) Required() bool { return p.required }

// ErrUnsigned is returned where no trusted key has signed the digest.
var ErrUnsigned = errors.New("no trusted key has signed it")

// Check returns nil when signatures are not required, or one of them is a trusted
// key's over the digest.
func Check[S Signature](p Policy, digest string, signatures []S) error {
	if !p.required {
		return nil
	}
	for _, s := range signatures {
		if p.Verify(digest, s) == nil {
			return nil
		}
	}
	return ErrUnsigned
}

// Verify returns why a signature is not a trusted key's over the digest.
func (p Policy) Verify(digest string, s Signature) error {
	key, ok := p.keys[s.GetKeyId()]
	switch {
	case !ok:
		return fmt.Errorf("the key %s is not trusted: it is not among signatures.trusted_keys", s.GetKeyId())
	case !ed25519.Verify(key, message(digest), s.GetSignature()):
		return fmt.Errorf("the signature by the key %s is not one over %s", s.GetKeyId(), digest)
	}
	return nil
}

func message(digest string) []byte { return []byte(prefix + digest) }

// Sign signs a digest.
func Sign(key ed25519.PrivateKey, digest string) []byte { return ed25519.Sign(key, message(digest)) }

// Public returns the public key of a private one.
func Public(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// KeyID names a public key: the first 16 hexadecimal digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Generate makes a key and returns it as PEM (PKCS #8), with its public key in
// base64.
func Generate() (private []byte, public string, err error) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, "", fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", fmt.Errorf("write a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), base64.StdEncoding.EncodeToString(pub), nil
}

// ParsePrivate reads a PEM block PRIVATE KEY (PKCS #8), as openssl genpkey writes
// it. Errors do not repeat what was given.
func ParsePrivate(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("must be a PEM block PRIVATE KEY")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("is not a private key in PKCS #8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("is not an Ed25519 key")
	}
	return key, nil
}

// ParsePublic reads a public key: 32 bytes in base64, or a PEM block PUBLIC KEY.
func ParsePublic(text string) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, errors.New("is not an Ed25519 public key")
		}
		return key, nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("must be 32 bytes in base64, or a PEM block PUBLIC KEY")
	}
	return raw, nil
}
