package possession

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/services/edge/internal/arrival"
)

// The headers by which a proxy that ends TLS hands on the client's certificate
// (RFC 9440).
const (
	clientCert      = "Client-Cert"
	clientCertChain = "Client-Cert-Chain"
)

// Certificate returns the thumbprint (x5t#S256) of the certificate that the client
// of ctx has proven to have the key of; empty: it has shown none.
func (c *Checker) Certificate(ctx context.Context) string {
	if c.config.ClientCertHeader && c.addresses.FromProxy(ctx) {
		// The connection's own certificate, if it has one, is the proxy's.
		return thumbprint(handedOn(clientCerts(ctx)))
	}
	if cert := arrival.From(ctx).Certificate; cert != nil {
		return thumbprint(cert.Raw)
	}
	return ""
}

// Strip takes from a request over HTTP what nobody may say who is no proxy that is
// trusted.
func (c *Checker) Strip(ctx context.Context, header http.Header) {
	if header.Values(clientCert) == nil && header.Values(clientCertChain) == nil || c.config.ClientCertHeader && c.addresses.FromProxy(ctx) {
		return
	}
	header.Del(clientCert)
	header.Del(clientCertChain)
}

func clientCerts(ctx context.Context) []string {
	if r := arrival.From(ctx).Request; r != nil {
		return r.Header.Values(clientCert)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	return md.Get(clientCert)
}

// handedOn returns the certificate, in DER, of the one header: a byte sequence of
// structured fields (RFC 8941, section 3.3.5).
func handedOn(values []string) []byte {
	if len(values) != 1 {
		return nil
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(values[0]), ":")
	if text, ok2 := strings.CutSuffix(text, ":"); ok && ok2 {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return nil
		}
		if _, err := x509.ParseCertificate(der); err == nil {
			return der
		}
	}
	return nil
}

func thumbprint(der []byte) string {
	if len(der) == 0 {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
