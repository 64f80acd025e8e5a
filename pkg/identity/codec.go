package identity

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The bounds on what one caller may carry.
const (
	MaxEncoded    = 16 << 10 // bytes
	MaxPrincipals = 256      // principals, and as many roles
	maxName       = 256      // bytes of any one text
)

// Codec writes a caller for the services behind the edge, and reads it there.
// Implementations are safe for concurrent use. Where the network between the
// services is not trusted package assertion signs the caller instead.
type Codec interface {
	Encode(c Caller) ([]byte, error)
	Decode(data []byte) (Caller, error)
}

// Plain returns a codec that proves nothing: it is for networks on which only
// the services themselves can reach each other.
func Plain() Codec { return plain{} }

// plainVersion begins every encoding, so that another one can be told apart.
const plainVersion = 1

type plain struct{}

func (plain) Encode(c Caller) ([]byte, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("identity: encode: %w", err)
	}
	if len(body)+1 > MaxEncoded {
		return nil, fmt.Errorf("identity: the caller takes more than %d bytes", MaxEncoded)
	}
	return append([]byte{plainVersion}, body...), nil
}

func (plain) Decode(data []byte) (Caller, error) {
	if len(data) == 0 || len(data) > MaxEncoded {
		return Caller{}, fmt.Errorf("identity: the encoding must be 1 to %d bytes, not %d", MaxEncoded, len(data))
	}
	if data[0] != plainVersion {
		return Caller{}, fmt.Errorf("identity: unknown encoding %d", data[0])
	}
	var c Caller
	if err := json.Unmarshal(data[1:], &c); err != nil {
		return Caller{}, errors.New("identity: the encoding is not valid")
	}
	return c, c.Check()
}

// Check returns why nobody can be called on behalf of c: somebody is missing, or
// too much is said.
func (c Caller) Check() error {
	if c.Tenant == "" || c.Subject == "" {
		return errors.New("identity: a caller needs a tenant and a subject")
	}
	if len(c.Principals) > MaxPrincipals || len(c.Roles) > MaxPrincipals {
		return fmt.Errorf("identity: more than %d principals or roles", MaxPrincipals)
	}
	for _, list := range [][]string{{c.Tenant, c.Subject, c.KeyID}, c.Principals, c.Roles} {
		for _, s := range list {
			if len(s) > maxName {
				return fmt.Errorf("identity: a name is longer than %d bytes", maxName)
			}
		}
	}
	return nil
}
