package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// Certificate is a server's certificate for 127.0.0.1 and the authority that it
// comes from, all as PEM.
type Certificate struct{ CA, Cert, Key []byte }

// NewCertificate makes one, of an authority of its own, for an hour.
func NewCertificate(tb testing.TB) Certificate {
	tb.Helper()
	now := time.Now()
	issue := func(what, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
		what.NotBefore, what.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, what, parent, &key.PublicKey, by)
		if err != nil {
			tb.Fatalf("certificate: %v", err)
		}
		return der
	}
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			tb.Fatalf("certificate: %v", err)
		}
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority of a test"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		tb.Fatalf("certificate: %v", err)
	}
	return Certificate{
		CA:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issue(ca, ca, keys[0], keys[0])}),
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issue(leaf, ca, keys[1], keys[0])}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}
