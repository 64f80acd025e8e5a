// Package pagetoken writes where a list goes on as a token that callers cannot
// read meaning into (AIP-158). A token holds the key of the last entry given
// and belongs to one list; it grants nothing, so it is checked but not signed.
package pagetoken

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// MaxKey bounds the key in a token, in bytes.
const MaxKey = 256

const (
	version = 1
	sumSize = 8
	header  = 1 + sumSize
)

// ErrInvalid is returned for a token that was not made for the list.
var ErrInvalid = errors.New("the page token was not made for this list")

// Encode returns the token with which the list called scope goes on after key.
// The scope is everything but the page's size that decides what is listed.
func Encode(scope, key string) string {
	sum := checksum(scope, key)
	raw := make([]byte, 0, header+len(key))
	raw = append(raw, version)
	raw = append(raw, sum[:sumSize]...)
	raw = append(raw, key...)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Decode returns the key in a token of the list called scope, or ErrInvalid.
func Decode(scope, token string) (string, error) {
	if len(token) > base64.RawURLEncoding.EncodedLen(header+MaxKey) {
		return "", ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < header {
		return "", ErrInvalid
	}
	key := string(raw[header:])
	if Encode(scope, key) != token {
		return "", ErrInvalid
	}
	return key, nil
}

// checksum binds the key to the scope; the length keeps the two apart.
func checksum(scope, key string) [sha256.Size]byte {
	h := sha256.Sum256([]byte(scope))
	return sha256.Sum256(append(h[:], key...))
}
