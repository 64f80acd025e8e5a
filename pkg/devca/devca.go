// Package devca is a certificate authority for deployments on one machine and
// for tests: it keeps its key in memory and asks nobody. Nothing that serves
// others uses it.
package devca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Authority issues certificates. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// validity is how long what is issued is good for, unless told.
const validity = 24 * time.Hour

// New makes an authority, whose certificate is good for validity around now.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	now := clock.Real().Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-validity), NotAfter: now.Add(30 * validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("devca: %w", err)
	}
	return &Authority{cert, key}, nil
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pool is the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Change makes a certificate another than Issue would make it.
type Change func(*x509.Certificate)

// Valid sets from when to when it is good.
func Valid(from, to time.Time) Change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// Issue returns a certificate and its key, in PEM, for servers and clients on
// this machine (127.0.0.1, ::1 and localhost) with the URIs, such as SPIFFE ids,
// among its names.
func (a *Authority) Issue(uris []string, changes ...Change) (cert, key []byte, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("devca: %w", err)
	}
	now := clock.Real().Now()
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validity),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, s := range uris {
		u, err := url.Parse(s)
		if err != nil {
			return nil, nil, fmt.Errorf("devca: %w", err)
		}
		template.URIs = append(template.URIs, u)
	}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, secret.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, fmt.Errorf("devca: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// The names of the files that WriteFiles writes.
const (
	CertFile = "cert.pem"
	KeyFile  = "key.pem"
	CAFile   = "ca.pem"
)

// WriteFiles issues a certificate and puts it, its key and the authority's
// certificate in dir, in place of what was there. Each file is replaced whole,
// but one after the other.
func (a *Authority) WriteFiles(dir string, uris []string, changes ...Change) error {
	cert, key, err := a.Issue(uris, changes...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	return errors.Join(
		Replace(filepath.Join(dir, CertFile), cert), Replace(filepath.Join(dir, KeyFile), key),
		Replace(filepath.Join(dir, CAFile), bytes.Clone(a.PEM())))
}

// Replace puts data in the file at path, which only its owner may read, at once.
func Replace(path string, data []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("devca: %w", err)
	}
	return nil
}
