package signing_test

import (
	"errors"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/signing"
)

type signature struct {
	key   string
	bytes []byte
}

func (s signature) GetKeyId() string     { return s.key }
func (s signature) GetSignature() []byte { return s.bytes }

func TestPolicy(t *testing.T) {
	const digest = "sha256:aa"
	private, public, err := signing.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.ParsePrivate(private)
	if err != nil {
		t.Fatal(err)
	}
	id := signing.KeyID(signing.Public(key))
	good := signature{id, signing.Sign(key, digest)}
	_, other, err := signing.Generate()
	if err != nil {
		t.Fatal(err)
	}
	policy := func(required bool, keys ...string) signing.Policy {
		p, err := signing.NewPolicy(signing.Config{Required: required, TrustedKeys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	tests := map[string]struct {
		policy signing.Policy
		digest string
		sigs   []signature
		ok     bool
	}{
		"not required":       {signing.Policy{}, digest, nil, true},
		"signed":             {policy(true, other, public), digest, []signature{{"x", nil}, good}, true},
		"unsigned":           {policy(true, public), digest, nil, false},
		"another digest":     {policy(true, public), "sha256:ab", []signature{good}, false},
		"a key not trusted":  {policy(true, other), digest, []signature{good}, false},
		"another's id":       {policy(true, public), digest, []signature{{id, make([]byte, 64)}}, false},
		"a short signature":  {policy(true, public), digest, []signature{{id, good.bytes[:10]}}, false},
		"required of nobody": {policy(true), digest, []signature{good}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := signing.Check(tt.policy, tt.digest, tt.sigs); (err == nil) != tt.ok || err != nil && !errors.Is(err, signing.ErrUnsigned) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBadKeys(t *testing.T) {
	for _, bad := range []string{"", "AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"} {
		if _, err := signing.ParsePublic(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
		if _, err := signing.ParsePrivate([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a private key", bad)
		}
		var p config.Problems
		signing.Config{TrustedKeys: []string{bad}}.Validate(&p, "signatures")
		if p.Err() == nil {
			t.Errorf("%q is taken in a configuration", bad)
		}
	}
	var p config.Problems
	signing.Config{Required: true}.Validate(&p, "signatures")
	if p.Err() == nil {
		t.Error("signatures are required of nobody")
	}
}
