package envelope

import (
	"encoding/base64"
	"strings"
)

// textForm begins a sealed text, which no JSON does: the name of the master key, the
// text's own key as that wrapped it, and what the latter encrypted, in base64.
const textForm = "sealed-1 "

// SealText encrypts a text, which must be JSON, by a key of its own that the current
// master key wraps and that is kept beside it. Both are bound to what bound names.
func (m *Masters) SealText(text string, bound ...string) (string, error) {
	key, err := NewKey()
	if err != nil {
		return "", err
	}
	id, err := NewKeyID()
	if err != nil {
		return "", err
	}
	wrapped, err := m.Wrap(key, bound...)
	if err != nil {
		return "", err
	}
	data, err := key.Seal(id, []byte(text), bound...)
	if err != nil {
		return "", err
	}
	return textForm + m.Current() + " " + wrapped + " " + base64.StdEncoding.EncodeToString(data), nil
}

// OpenText decrypts what SealText made for the same bound. A text that is not sealed,
// as it was kept before there was a master key, is returned as it is.
func (m *Masters) OpenText(text string, bound ...string) (string, error) {
	rest, sealed := strings.CutPrefix(text, textForm)
	if !sealed {
		return text, nil
	}
	master, rest, _ := strings.Cut(rest, " ")
	wrapped, encoded, _ := strings.Cut(rest, " ")
	key, err := m.Unwrap(master, wrapped, bound...)
	if err != nil {
		return "", err
	}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", ErrOpen
	}
	opened, err := key.Open(data, bound...)
	return string(opened), err
}
