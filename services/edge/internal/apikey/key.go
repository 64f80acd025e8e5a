// Package apikey makes, keeps and verifies API keys. It knows neither gRPC nor
// what a key's holder may do. Start reading at Manager; the text of a key is in
// key.go, where keys are kept in store.go, and what makes verifying cheap in
// cache.go.
package apikey

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/big"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// The text of a key is
//
//	ptn_<id>_<secret><checksum>
//
// all in letters and digits, so that a double click selects it and no shell or
// header needs quotes. The id is 80 random bits and no secret. The secret is
// 256 random bits. The checksum, CRC-32 over everything before it, lets secret
// scanners and typing errors be told apart without asking the store (GitHub's
// tokens do the same).
const (
	Prefix = "ptn_"

	idBytes     = 10
	idLen       = 16 // base 32
	secretBytes = 32
	secretLen   = 43 // base 62
	sumLen      = 6  // base 62
	keyLen      = len(Prefix) + idLen + 1 + secretLen + sumLen
)

const (
	base32Digits = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's: no i, l, o, u
	base62Digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// errForm is all that is said about a text that is no key: it might be one
// with a typing error, so it must not be repeated.
var errForm = errors.New("apikey: not the text of an API key")

// Key is the text of a key: its id and its secret.
type Key struct {
	// ID is no secret.
	ID   string
	text config.Secret
}

// Format prints the id only, whatever the verb: fmt does not ask fields that are
// not exported how they want to be printed.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Prefix+k.ID+"_"+config.Mask) }

// Reveal returns the whole text, which only its holder should see.
func (k Key) Reveal() string { return k.text.Reveal() }

// Generate makes a key from random bytes.
func Generate(random io.Reader) (Key, error) {
	buf := make([]byte, idBytes)
	if _, err := io.ReadFull(random, buf); err != nil {
		return Key{}, fmt.Errorf("apikey: read random bytes: %w", err)
	}
	return regenerate(random, encode(buf, base32Digits, idLen))
}

// regenerate makes the key of that id with another secret.
func regenerate(random io.Reader, id string) (Key, error) {
	buf := make([]byte, secretBytes)
	if _, err := io.ReadFull(random, buf); err != nil {
		return Key{}, fmt.Errorf("apikey: read random bytes: %w", err)
	}
	body := Prefix + id + "_" + encode(buf, base62Digits, secretLen)
	sum := checksum(body)
	return Key{ID: id, text: config.Secret(body + string(sum[:]))}, nil
}

// Parse reads the text of a key. It tells nothing about whether there is such a
// key.
func Parse(text string) (Key, error) {
	if len(text) != keyLen || !strings.HasPrefix(text, Prefix) || text[len(Prefix)+idLen] != '_' {
		return Key{}, errForm
	}
	id := text[len(Prefix) : len(Prefix)+idLen]
	rest := text[len(Prefix)+idLen+1:]
	if !inBase32(id) || !inBase62(rest) {
		return Key{}, errForm
	}
	body := text[:keyLen-sumLen]
	if sum := checksum(body); subtle.ConstantTimeCompare(sum[:], []byte(text[keyLen-sumLen:])) != 1 {
		return Key{}, errForm
	}
	return Key{ID: id, text: config.Secret(text)}, nil
}

// validID reports whether a key may have this id. Others are not asked of the
// store: they come from outside and may hold anything.
func validID(id string) bool { return len(id) == idLen && inBase32(id) }

func checksum(body string) [sumLen]byte {
	sum := crc32.ChecksumIEEE([]byte(body))
	var out [sumLen]byte
	for i := sumLen - 1; i >= 0; i-- { // as encode does with what may be larger
		out[i] = base62Digits[sum%uint32(len(base62Digits))]
		sum /= uint32(len(base62Digits))
	}
	return out
}

// encode writes data as a number in the given digits, with leading zeros.
func encode(data []byte, digits string, length int) string {
	n, base, digit := new(big.Int).SetBytes(data), big.NewInt(int64(len(digits))), new(big.Int)
	out := make([]byte, length)
	for i := length - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = digits[digit.Int64()]
	}
	return string(out)
}

// inBase32 and inBase62 report whether s is in these digits.
func inBase32(s string) bool {
	for i := range len(s) {
		if c := s[i]; !digit(c) && (c < 'a' || c > 'z' || c == 'i' || c == 'l' || c == 'o' || c == 'u') {
			return false
		}
	}
	return true
}

func inBase62(s string) bool {
	for i := range len(s) {
		if c := s[i]; !digit(c) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
