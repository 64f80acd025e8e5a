package issue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// How private keys are kept.
const (
	plainly = "plain:"
	sealed  = "aes-256-gcm:"
)

// sealer keeps private keys for the store: encrypted with AES-256-GCM by a key
// made from the secret (HKDF, RFC 5869), or as they are where there is none.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret config.Secret) (sealer, error) {
	if secret == "" {
		return sealer{}, nil
	}
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, "poterne token keys", 32)
	if err != nil {
		return sealer{}, fmt.Errorf("tokens: make the key for keys: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, fmt.Errorf("tokens: make the key for keys: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// seal returns the private key of that id as it is kept.
func (s sealer) seal(id string, private []byte) string {
	if s.aead == nil {
		return plainly + base64.StdEncoding.EncodeToString(private)
	}
	return sealed + base64.StdEncoding.EncodeToString(s.aead.Seal(nil, nil, private, []byte(id))) //nolint:gosec // the nonce is made by Seal, and is in what it returns
}

// open returns what seal was given. What was kept before there was a secret is
// read too.
func (s sealer) open(id, kept string) ([]byte, error) {
	if text, ok := strings.CutPrefix(kept, plainly); ok {
		return base64.StdEncoding.DecodeString(text)
	}
	text, ok := strings.CutPrefix(kept, sealed)
	if !ok {
		return nil, errors.New("it is kept in a way that is not known")
	}
	if s.aead == nil {
		return nil, errors.New("it is encrypted, and key_encryption_secret is empty")
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	private, err := s.aead.Open(nil, nil, raw, []byte(id))
	if err != nil {
		return nil, errors.New("it was encrypted by another key_encryption_secret")
	}
	return private, nil
}

// KeyPrefix is what the ids of keys begin with.
const KeyPrefix = "ptk_"

func newKeyID() string { return KeyPrefix + strings.ToLower(rand.Text()) }
