package authn

import (
	"encoding/base64"
	"errors"
)

// Confirmation is the keys that a token is bound to (RFC 7800): it holds only for
// who proves to have each of them.
type Confirmation struct {
	// Key is the thumbprint (RFC 7638) of the key that proofs are signed by (jkt,
	// RFC 9449).
	Key string
	// Certificate is the SHA-256 thumbprint of the client certificate (x5t#S256,
	// RFC 8705).
	Certificate string
}

// None reports whether nothing must be proven.
func (c Confirmation) None() bool { return c == Confirmation{} }

var errConfirmation = errors.New("authn: the token is bound in a way that cannot be checked")

// ConfirmationOf reads the claim cnf. A binding that is not known here must not be
// passed over: whoever bound the token meant it.
func ConfirmationOf(claims map[string]any) (c Confirmation, err error) {
	cnf, ok := claims["cnf"]
	if !ok {
		return c, nil
	}
	members, ok := cnf.(map[string]any)
	if !ok || len(members) == 0 {
		return c, errConfirmation
	}
	for name, v := range members {
		text, _ := v.(string)
		if sum, err := base64.RawURLEncoding.Strict().DecodeString(text); err != nil || len(sum) != 32 || len(text) != 43 {
			return Confirmation{}, errConfirmation
		}
		switch name {
		case "jkt":
			c.Key = text
		case "x5t#S256":
			c.Certificate = text
		default:
			return Confirmation{}, errConfirmation
		}
	}
	return c, nil
}
