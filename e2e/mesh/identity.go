package mesh

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/poterne/poterne/pkg/signing"
)

// signers are the kinds of service that sign who they call for.
func signers() []string { return []string{"edge", "search", "inference", "worker"} }

// makeIdentity makes a key for each kind of service that signs, and lets every
// service trust all of them. Keys that are there already stay.
func (m *Mesh) makeIdentity() error {
	trusted := m.state("identity", "trusted")
	if err := os.MkdirAll(trusted, 0o755); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	for _, kind := range signers() {
		file := m.signingKey(kind)
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			if text, _, err = signing.Generate(); err == nil {
				err = os.WriteFile(file, text, 0o600)
			}
		}
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		key, err := signing.ParsePrivate(text)
		if err != nil {
			return fmt.Errorf("identity: %s: %w", file, err)
		}
		der, err := x509.MarshalPKIXPublicKey(signing.Public(key))
		if err != nil {
			return fmt.Errorf("identity: %w", err)
		}
		public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		if err := os.WriteFile(filepath.Join(trusted, "poterne-"+kind+".pem"), public, 0o644); err != nil {
			return fmt.Errorf("identity: %w", err)
		}
	}
	return nil
}

func (m *Mesh) signingKey(kind string) string { return m.state("identity", "poterne-"+kind+".key") }

// identityEnv has a service sign and verify, and refuse to start otherwise.
func (m *Mesh) identityEnv(kind string) []string {
	if m.opts.Unsigned {
		return nil
	}
	env := []string{"POTERNE_IDENTITY_REQUIRE_SIGNED=true"}
	if kind != "registry" { // which calls nobody
		env = append(env, "POTERNE_IDENTITY_SIGNING_KEY_FILE="+m.signingKey(kind))
	}
	if kind != "edge" { // whom no service calls
		env = append(env, "POTERNE_IDENTITY_TRUSTED_KEYS="+m.state("identity", "trusted"))
	}
	return env
}

// Backends are the addresses of the services that take callers from the edge, by
// their names in discovery.
func (m *Mesh) Backends() map[string]string {
	p := m.opts.Ports
	return map[string]string{
		"poterne-inference": addr(p.Inference[0].GRPC), "poterne-search": addr(p.Search.GRPC),
		"poterne-registry": addr(p.Registry.GRPC), "poterne-worker": addr(p.Worker[0].GRPC),
	}
}

// SigningKey is the file of the key that a kind of service signs with.
func (m *Mesh) SigningKey(kind string) string { return m.signingKey(kind) }
