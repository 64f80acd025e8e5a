package assertion

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/poterne/poterne/pkg/jose"
)

// The bounds of what is read.
const (
	maxTrusted  = 256       // keys, and files
	maxKeyBytes = 256 << 10 // of one file
)

// trusted is a key that is believed.
type trusted struct {
	issuer string
	set    jose.KeySet // which has this one key
}

// Thumbprint names a key: RFC 7638 over its JWK, as RFC 8037 (appendix A.3) has it.
func Thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// files is the content of each file by its name.
type files map[string][]byte

func (f files) equal(other files) bool {
	if len(f) != len(other) {
		return false
	}
	for name, text := range f {
		if had, ok := other[name]; !ok || !bytes.Equal(had, text) {
			return false
		}
	}
	return true
}

// readFiles reads the files of keys in a directory, or the one.
func readFiles(path string) (files, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("trusted_keys: %w", err)
	}
	dir, names := filepath.Dir(path), []string{filepath.Base(path)}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("trusted_keys: %w", err)
		}
		dir, names = path, nil
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !strings.HasPrefix(e.Name(), ".") && (ext == ".pem" || ext == ".jwks") {
				names = append(names, e.Name())
			}
		}
	}
	if len(names) > maxTrusted {
		return nil, fmt.Errorf("trusted_keys: %d files are more than %d", len(names), maxTrusted)
	}
	out := make(files, len(names))
	for _, name := range names {
		if out[name], err = readBounded(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("trusted_keys: %w", err)
		}
	}
	return out, nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyBytes+1))
	if err == nil && len(text) > maxKeyBytes {
		err = fmt.Errorf("%s: is larger than %d bytes", path, maxKeyBytes)
	}
	return text, err
}

// parse reads the keys, by their thumbprints.
func (f files) parse() (map[string]trusted, error) {
	out := make(map[string]trusted)
	for name, text := range f {
		issuer, _, _ := strings.Cut(name, ".")
		read := pemKeys
		if filepath.Ext(name) == ".jwks" {
			read = jwkKeys
		}
		keys, err := read(text)
		if err != nil {
			return nil, fmt.Errorf("trusted_keys: %s: %w", name, err)
		}
		for _, key := range keys {
			id := Thumbprint(key)
			if had, ok := out[id]; ok && had.issuer != issuer {
				return nil, fmt.Errorf("trusted_keys: %s: a key is also %s's", name, had.issuer)
			}
			set, err := setOf(id, key)
			if err != nil {
				return nil, fmt.Errorf("trusted_keys: %s: %w", name, err)
			}
			out[id] = trusted{issuer: issuer, set: set}
		}
	}
	if len(out) > maxTrusted {
		return nil, fmt.Errorf("trusted_keys: %d keys are more than %d", len(out), maxTrusted)
	}
	return out, nil
}

func pemKeys(text []byte) (out []ed25519.PublicKey, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if len(out) == 0 || len(bytes.TrimSpace(rest)) > 0 {
				return nil, errors.New("must be PEM blocks PUBLIC KEY, and nothing else")
			}
			return out, nil
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok || block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("block %d is no Ed25519 public key", len(out)+1)
		}
		out, text = append(out, key), rest
	}
}

// jwkKeys reads a JWK set (RFC 7517), of which jose finds faults.
func jwkKeys(text []byte) (out []ed25519.PublicKey, err error) {
	checked, err := jose.ParseKeySet(text, jose.KeySetOptions{})
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []struct {
			Kty string `json:"kty"`
			Crv string `json:"crv"`
			X   string `json:"x"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil || checked.Keys() != len(set.Keys) {
		return nil, errors.New("has a key that is not one for signatures")
	}
	for i, k := range set.Keys {
		raw, err := base64.RawURLEncoding.DecodeString(k.X)
		if k.Kty != "OKP" || k.Crv != "Ed25519" || err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %d is no Ed25519 public key", i+1)
		}
		out = append(out, raw)
	}
	return out, nil
}

func setOf(id string, key ed25519.PublicKey) (jose.KeySet, error) {
	return jose.ParseKeySet(fmt.Appendf(nil, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":%q,"use":"sig","kid":%q,"x":%q}]}`,
		algorithm, id, base64.RawURLEncoding.EncodeToString(key)), jose.KeySetOptions{})
}
