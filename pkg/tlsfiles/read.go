package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxFile bounds each file: a bundle of every public authority has 300 KB.
const maxFile = 1 << 20

// The bits of a key's mode that nobody but its owner and its group may have; the
// group may read, as Kubernetes' fsGroup does.
const keyMode = 0o027

// refusedError says why what the files hold cannot be used.
type refusedError struct {
	digest [32]byte
	err    error
}

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// read returns what the files hold at now.
func (f Files) read(now time.Time, spiffe bool) (*Material, error) {
	hash := sha256.New()
	var parts [3][]byte
	for i, path := range []string{f.CertFile, f.KeyFile, f.CAFile} {
		if path == "" {
			continue
		}
		data, err := readFile(path, i == 1)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		_, _ = hash.Write(sum[:])
		parts[i] = data
	}
	m := &Material{digest: [32]byte(hash.Sum(nil))}
	if err := m.parse(f, parts, now, spiffe); err != nil {
		return nil, &refusedError{m.digest, err}
	}
	return m, nil
}

func (m *Material) parse(f Files, parts [3][]byte, now time.Time, spiffe bool) error {
	if f.CAFile != "" {
		bundle, err := certificates(parts[2])
		if err != nil {
			return fmt.Errorf("%s: %w", f.CAFile, err)
		}
		m.Authorities = x509.NewCertPool()
		for _, c := range bundle {
			if !c.IsCA {
				return fmt.Errorf("%s: %q is no certificate authority's", f.CAFile, c.Subject)
			}
			m.Authorities.AddCert(c)
		}
	}
	if f.CertFile == "" {
		return nil
	}
	chain, err := certificates(parts[0])
	if err != nil {
		return fmt.Errorf("%s: %w", f.CertFile, err)
	}
	leaf := chain[0]
	switch {
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%s: the certificate is good from %v on", f.CertFile, leaf.NotBefore)
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s: the certificate has expired at %v", f.CertFile, leaf.NotAfter)
	}
	if spiffe {
		if _, err := idOf(leaf); err != nil {
			return fmt.Errorf("%s: %w", f.CertFile, err)
		}
	}
	// What it says of a key that does not parse has nothing of the key.
	pair, err := tls.X509KeyPair(parts[0], parts[1])
	if err != nil {
		return fmt.Errorf("%s and %s: %w", f.CertFile, f.KeyFile, err)
	}
	pair.Leaf = leaf
	m.Certificate = &pair
	return nil
}

// certificates reads every block of PEM. A bundle of which the end is missing is
// refused: a certificate that was not read would be one that nobody trusts.
func certificates(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return nil, errors.New("a block is cut off or malformed")
			}
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a block of type %q beside certificates", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("holds no certificate")
	}
	return out, nil
}

// readFile reads one file. secret says that it is a key, which others must not
// be able to read or write.
func readFile(path string, secret bool) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if secret {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		if mode := info.Mode().Perm(); mode&keyMode != 0 {
			return nil, fmt.Errorf("%s: the key has mode %04o, so that others can read or change it; 0600 or 0440 is as it should be", path, mode)
		}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}
