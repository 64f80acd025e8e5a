// Package envelope encrypts contents by data keys, which are kept encrypted (wrapped)
// by other keys, up to a master key that only the configuration has. Everything is
// AES-256-GCM (NIST SP 800-38D) with random nonces, and bound to what it belongs to,
// so that nothing can be put in another's place. It knows no store. Start reading at
// Key and Masters.
package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrOpen says that something cannot be decrypted: it is damaged, belongs to
// something else, or was encrypted by another key. Which of these nobody can tell.
var ErrOpen = errors.New("envelope: it cannot be decrypted")

// What is encrypted begins its associated data with what it is.
const (
	formContent = "poterne audit content v1"
	formKey     = "poterne wrapped key v1"
)

// Key is a 256-bit key.
type Key [32]byte

// NewKey returns a random key.
func NewKey() (k Key, err error) {
	if _, err := rand.Read(k[:]); err != nil {
		return k, fmt.Errorf("envelope: make a key: %w", err)
	}
	return k, nil
}

// String keeps the key out of texts.
func (k Key) String() string { return "(a key)" }

// GoString keeps the key out of texts.
func (k Key) GoString() string { return "(a key)" }

// KeyID names a data key.
type KeyID [16]byte

// NewKeyID returns a random name.
func NewKeyID() (id KeyID, err error) {
	if _, err := rand.Read(id[:]); err != nil {
		return id, fmt.Errorf("envelope: name a key: %w", err)
	}
	return id, nil
}

// String returns hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKeyID reads hexadecimal digits.
func ParseKeyID(text string) (id KeyID, err error) {
	if len(text) != 2*len(id) {
		return id, errors.New("envelope: a key's name has 32 hexadecimal digits")
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return id, errors.New("envelope: a key's name has 32 hexadecimal digits")
	}
	return id, nil
}

func (k *Key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, fmt.Errorf("envelope: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bind is associated data: texts with their lengths before them, so that no two
// lists of texts are the same.
func bind(form string, texts []string, more []byte) []byte {
	var out []byte
	for _, s := range append([]string{form}, texts...) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return append(out, more...)
}

// The form of sealed content: magic, the data key's name, the nonce, the ciphertext
// and its tag.
const (
	magic    = "PAC1"
	header   = len(magic) + len(KeyID{})
	overhead = header + 12 + 16
)

// Seal encrypts content by the key of that name, for what bound names.
func (k *Key) Seal(id KeyID, content []byte, bound ...string) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	out := make([]byte, header, overhead+len(content))
	copy(out, magic)
	copy(out[len(magic):], id[:])
	return aead.Seal(out, nil, content, bind(formContent, bound, out[:header])), nil //nolint:gosec // the cipher makes the nonce
}

// SealedBy returns the name of the key that content was sealed by.
func SealedBy(sealed []byte) (id KeyID, err error) {
	if len(sealed) < overhead || string(sealed[:len(magic)]) != magic {
		return id, errors.New("envelope: this is no sealed content")
	}
	return KeyID(sealed[len(magic):header]), nil
}

// Open decrypts what Seal made for the same bound.
func (k *Key) Open(sealed []byte, bound ...string) ([]byte, error) {
	if _, err := SealedBy(sealed); err != nil {
		return nil, err
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	out, err := aead.Open(nil, nil, sealed[header:], bind(formContent, bound, sealed[:header]))
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

// Wrap encrypts another key, for what bound names.
func (k *Key) Wrap(inner Key, bound ...string) (string, error) {
	aead, err := k.aead()
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, inner[:], bind(formKey, bound, nil))), nil //nolint:gosec // the cipher makes the nonce
}

// Unwrap decrypts what Wrap made for the same bound.
func (k *Key) Unwrap(wrapped string, bound ...string) (inner Key, err error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(wrapped)
	if err != nil {
		return inner, ErrOpen
	}
	aead, err := k.aead()
	if err != nil {
		return inner, err
	}
	plain, err := aead.Open(nil, nil, raw, bind(formKey, bound, nil))
	if err != nil || len(plain) != len(inner) {
		return inner, ErrOpen
	}
	return Key(plain), nil
}
