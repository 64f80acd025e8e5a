package envelope

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// ErrUnknownMaster says that a key was wrapped by a master key that is not
// configured.
var ErrUnknownMaster = errors.New("envelope: the master key is not configured")

// MaxMasters is the most master keys at once.
const MaxMasters = 8

// Masters are the configured master keys: the first wraps, and all unwrap. It is not
// changed once it is made.
type Masters struct {
	current string
	keys    map[string]Key
}

// ParseMasters reads master keys, each as `name:key`, the key 32 bytes in base64. Its
// errors hold nothing of a key.
func ParseMasters(current config.Secret, previous ...config.Secret) (*Masters, error) {
	m := &Masters{keys: make(map[string]Key)}
	if len(previous) >= MaxMasters {
		return nil, fmt.Errorf("there are at most %d", MaxMasters-1)
	}
	for i, text := range append([]config.Secret{current}, previous...) {
		name, encoded, ok := strings.Cut(strings.TrimSpace(text.Reveal()), ":")
		raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if !ok || !masterName(name) || err != nil || len(raw) != len(Key{}) {
			return nil, errors.New("must be name:key, the name 1 to 32 of a-z, 0-9 and -, the key 32 bytes in base64")
		}
		if _, twice := m.keys[name]; twice {
			return nil, fmt.Errorf("the name %s is there twice", name)
		}
		m.keys[name] = Key(raw)
		if i == 0 {
			m.current = name
		}
	}
	return m, nil
}

func masterName(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Current names the master key that wraps.
func (m *Masters) Current() string { return m.current }

// Wrap encrypts a key by the current master key.
func (m *Masters) Wrap(inner Key, bound ...string) (string, error) {
	k := m.keys[m.current]
	return k.Wrap(inner, append([]string{m.current}, bound...)...)
}

// Unwrap decrypts a key that the named master key wrapped; ErrUnknownMaster when
// that is not configured.
func (m *Masters) Unwrap(master, wrapped string, bound ...string) (Key, error) {
	k, ok := m.keys[master]
	if !ok {
		return Key{}, ErrUnknownMaster
	}
	return k.Unwrap(wrapped, append([]string{master}, bound...)...)
}
