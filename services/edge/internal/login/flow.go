package login

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// flowTime is how long somebody may take at the provider.
const flowTime = 10 * time.Minute

// maxFlowBytes bounds the cookie of a login under way.
const maxFlowBytes = 4096

// flow is a login under way. Only the browser keeps it, sealed, in a cookie: whoever
// comes back with another browser has begun nothing.
type flow struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	ReturnTo string `json:"r"`
	Expires  int64  `json:"e"` // seconds since 1970
}

var errFlow = errors.New("login: the cookie is not one of a login under way")

// sealer seals flows with AES-256-GCM, by a key that all edges share. It is safe for
// concurrent use.
type sealer struct {
	aead   cipher.AEAD
	random io.Reader
}

func newSealer(key []byte, random io.Reader) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return &sealer{aead: aead, random: random}, nil
}

// begin returns a new login, and its cookie.
func (s *sealer) begin(returnTo string, now time.Time) (flow, string, error) {
	secrets := make([]byte, 3*32+s.aead.NonceSize())
	if _, err := io.ReadFull(s.random, secrets); err != nil {
		return flow{}, "", fmt.Errorf("login: read random bytes: %w", err)
	}
	text := func(i int) string { return base64.RawURLEncoding.EncodeToString(secrets[32*i : 32*(i+1)]) }
	f := flow{State: text(0), Nonce: text(1), Verifier: text(2), ReturnTo: returnTo, Expires: now.Add(flowTime).Unix()}
	plain, err := json.Marshal(f)
	if err != nil {
		return flow{}, "", fmt.Errorf("login: %w", err)
	}
	nonce := secrets[3*32:]
	sealed := s.aead.Seal(nonce, nonce, plain, []byte(flowCookie)) //nolint:gosec // the nonce was read from s.random
	return f, base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open returns the login of a cookie, if it is not over.
func (s *sealer) open(cookie string, now time.Time) (flow, error) {
	if len(cookie) > maxFlowBytes {
		return flow{}, errFlow
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(sealed) < s.aead.NonceSize() {
		return flow{}, errFlow
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(flowCookie))
	if err != nil {
		return flow{}, errFlow
	}
	var f flow
	if err := json.Unmarshal(plain, &f); err != nil || now.Unix() >= f.Expires {
		return flow{}, errFlow
	}
	return f, nil
}
