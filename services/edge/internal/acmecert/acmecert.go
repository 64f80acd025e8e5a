// Package acmecert obtains certificates by ACME (RFC 8555): the edge's own
// binary links it, the all-in-one does not. Start reading at Open.
package acmecert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"github.com/poterne/poterne/pkg/plainhttp"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// requestTimeout bounds one request to the authority.
const requestTimeout = 30 * time.Second

// Open returns what obtains certificates as c says, when they are first asked
// for, and renews them.
func Open(c webtls.ACME) (webtls.Obtainer, error) {
	client := &acme.Client{DirectoryURL: c.DirectoryURL, UserAgent: "poterne"}
	transport, err := newTransport(c.CAFile)
	if err != nil {
		return nil, err
	}
	client.HTTPClient = &http.Client{Transport: plainhttp.Transport(transport), Timeout: requestTimeout}
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(c.CacheDir), HostPolicy: autocert.HostWhitelist(c.Hosts...),
		RenewBefore: c.RenewBefore, Client: client, Email: c.Email,
	}
	if c.EABKeyID != "" {
		key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(c.EABKey.Reveal(), "="))
		if err != nil {
			return nil, fmt.Errorf("eab_key is not base64url") // the cause would show a part of it
		}
		m.ExternalAccountBinding = &acme.ExternalAccountBinding{KID: c.EABKeyID, Key: key}
	}
	return m, nil
}

func newTransport(caFile string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: requestTimeout, ResponseHeaderTimeout: requestTimeout,
		IdleConnTimeout: time.Minute, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caFile == "" {
		return t, nil
	}
	data, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return t, nil
}

var _ webtls.Obtainer = (*autocert.Manager)(nil)
