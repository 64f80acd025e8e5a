package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/poterne/poterne/services/edge"
)

// selfSigned returns a certificate for clients, and its thumbprint.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "ana"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, base64.RawURLEncoding.EncodeToString(sum[:])
}

// A token that is bound to a certificate holds on connections with that one.
func TestTokensBoundToCertificates(t *testing.T) {
	is := newTrusted(t)
	g := open(t, is.trust)
	ana, anas := selfSigned(t)
	ben, _ := selfSigned(t)
	pool := x509.NewCertPool()
	for _, c := range []tls.Certificate{ana, ben} {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		pool.AddCert(leaf)
	}
	server := httptest.NewUnstartedServer(g.Handler())
	server.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	token := is.token(map[string]any{"cnf": map[string]any{"x5t#S256": anas}})
	for name, tt := range map[string]struct {
		with   []tls.Certificate
		header bool
		want   int
	}{
		"ana":                                  {[]tls.Certificate{ana}, false, http.StatusOK},
		"ben":                                  {[]tls.Certificate{ben}, false, http.StatusUnauthorized},
		"nobody":                               {nil, false, http.StatusUnauthorized},
		"nobody, who says it in a header":      {nil, true, http.StatusUnauthorized},
		"ben, who says ana's name in a header": {[]tls.Certificate{ben}, true, http.StatusUnauthorized},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone() //nolint:errcheck // it is one
		transport.TLSClientConfig.Certificates = tt.with
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/models", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if tt.header {
			req.Header.Set("Client-Cert", handedOn(ana))
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

func handedOn(c tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(c.Certificate[0]) + ":"
}

// A proxy that ends TLS hands the certificate on, over REST and gRPC.
func TestCertificatesFromProxies(t *testing.T) {
	is := newTrusted(t)
	ana, anas := selfSigned(t)
	ben, _ := selfSigned(t)
	token := is.token(map[string]any{"cnf": map[string]any{"x5t#S256": anas}})
	for name, tt := range map[string]struct {
		proxies []string
		believe bool
		shown   string
		want    bool
	}{
		"a trusted proxy":    {[]string{"127.0.0.0/8"}, true, handedOn(ana), true},
		"another's":          {[]string{"127.0.0.0/8"}, true, handedOn(ben), false},
		"rubbish":            {[]string{"127.0.0.0/8"}, true, ":AAAA:", false},
		"nothing":            {[]string{"127.0.0.0/8"}, true, "", false},
		"not configured":     {[]string{"127.0.0.0/8"}, false, handedOn(ana), false},
		"not from the proxy": {[]string{"10.0.0.0/8"}, true, handedOn(ana), false},
	} {
		g := open(t, func(c *edge.Config) {
			is.trust(c)
			c.Security.Limits.TrustedProxies, c.Security.Tokens.Possession.ClientCertHeader = tt.proxies, tt.believe
		})
		_, conn := g.serve()
		a := g.do("GET", "/v1/models", "", "Authorization", "Bearer "+token, "Client-Cert", tt.shown)
		if (a.status == http.StatusOK) != tt.want {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
		if code, _, text := rpc(t, conn, "authorization", "Bearer "+token, "client-cert", tt.shown); (code == codes.OK) != tt.want {
			t.Errorf("%s over gRPC: %v %s", name, code, text)
		}
	}
}
