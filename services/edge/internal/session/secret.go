package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/poterne/poterne/pkg/config"
)

const (
	secretBytes = 32
	idBytes     = 10
	// formUse keeps what pages show apart from other uses of the secret.
	formUse = "poterne session form"
)

// errForm is all that is said about a text that is no session's secret.
var errForm = errors.New("session: not the secret of a session")

// Secret is what the browser of a session has in its cookie: 256 random bits.
type Secret struct{ text config.Secret }

// Format prints nothing of the secret, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, config.Mask) }

// Reveal returns the text of the cookie.
func (s Secret) Reveal() string { return s.text.Reveal() }

// ParseSecret reads the text of a cookie.
func ParseSecret(text string) (Secret, error) {
	if len(text) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return Secret{}, errForm
	}
	// The library passes over line breaks, so that the length tells again.
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(text); err != nil || len(raw) != secretBytes {
		return Secret{}, errForm
	}
	return Secret{config.Secret(text)}, nil
}

// hash is what is stored of the secret. There is nothing to guess in it, so a slow
// hash would add nothing.
func (s Secret) hash() string {
	sum := sha256.Sum256([]byte(s.text.Reveal()))
	return hex.EncodeToString(sum[:])
}

// CSRFToken is what the pages of the session show, and what changes are asked for
// with: who does not see the pages does not know it (OWASP's HMAC-based token).
func (s Secret) CSRFToken() string {
	mac := hmac.New(sha256.New, []byte(s.text.Reveal()))
	mac.Write([]byte(formUse))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// CSRFMatches reports whether token is the session's, in a time that does not
// depend on where they differ.
func (s Secret) CSRFMatches(token string) bool {
	return subtle.ConstantTimeCompare([]byte(s.CSRFToken()), []byte(token)) == 1
}

// generate makes a session's id and its secret.
func generate(random io.Reader) (string, Secret, error) {
	buf := make([]byte, idBytes+secretBytes)
	if _, err := io.ReadFull(random, buf); err != nil {
		return "", Secret{}, fmt.Errorf("session: read random bytes: %w", err)
	}
	return hex.EncodeToString(buf[:idBytes]), Secret{config.Secret(base64.RawURLEncoding.EncodeToString(buf[idBytes:]))}, nil
}

// ValidID reports whether a session may have this id. Others are not asked of the
// store: they come from outside and may hold anything.
func ValidID(id string) bool {
	_, err := hex.DecodeString(id)
	return err == nil && len(id) == 2*idBytes
}
