package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// flowTime is how long somebody may take at the provider.
const flowTime = 10 * time.Minute

const (
	// maxFlows bounds how many logins one browser has under way, in tabs of its own.
	maxFlows = 4
	// maxFlowBytes bounds their cookie: browsers take one of 4,096 bytes with its name
	// and attributes.
	maxFlowBytes = 3900
)

// flow is a login under way. Only the browser keeps it, sealed, in a cookie, with those
// of its other tabs: whoever comes back with another browser has begun nothing.
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

// begin returns a new login, and the cookie of it and those before: as many of the
// last as fit.
func (s *sealer) begin(returnTo string, before []flow, now time.Time) (flow, string, error) {
	secrets := make([]byte, 3*32)
	if _, err := io.ReadFull(s.random, secrets); err != nil {
		return flow{}, "", fmt.Errorf("login: read random bytes: %w", err)
	}
	text := func(i int) string { return base64.RawURLEncoding.EncodeToString(secrets[32*i : 32*(i+1)]) }
	f := flow{State: text(0), Nonce: text(1), Verifier: text(2), ReturnTo: returnTo, Expires: now.Add(flowTime).Unix()}
	all := append(slices.Clone(before), f)
	all = all[max(0, len(all)-maxFlows):]
	for {
		cookie, err := s.seal(all)
		if err != nil || len(cookie) <= maxFlowBytes || len(all) == 1 {
			return f, cookie, err
		}
		all = all[1:]
	}
}

// seal returns the cookie of logins under way.
func (s *sealer) seal(all []flow) (string, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return "", fmt.Errorf("login: read random bytes: %w", err)
	}
	plain, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	sealed := s.aead.Seal(nonce, nonce, plain, []byte(flowCookie))
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// open returns the logins of a cookie that are not over; there is one at least.
func (s *sealer) open(cookie string, now time.Time) ([]flow, error) {
	if len(cookie) > maxFlowBytes {
		return nil, errFlow
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(sealed) < s.aead.NonceSize() {
		return nil, errFlow
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(flowCookie))
	if err != nil {
		return nil, errFlow
	}
	var all []flow
	if err := json.Unmarshal(plain, &all); err != nil {
		return nil, errFlow // one that was begun before an upgrade, too
	}
	all = slices.DeleteFunc(all, func(f flow) bool { return now.Unix() >= f.Expires })
	if len(all) == 0 {
		return nil, errFlow
	}
	return all, nil
}

// ofState returns the login that has a state, and the others.
func ofState(all []flow, state string) (f flow, others []flow, ok bool) {
	for _, one := range all {
		if subtle.ConstantTimeCompare([]byte(state), []byte(one.State)) == 1 {
			f, ok = one, true
		} else {
			others = append(others, one)
		}
	}
	return f, others, ok
}
