package possession

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ana"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// The header is believed from a proxy that is trusted, where that is configured,
// and taken away otherwise.
func TestClientCertHeader(t *testing.T) {
	der := certificate(t)
	for name, tt := range map[string]struct {
		believe bool
		from    string
		want    string
	}{
		"a trusted proxy":          {true, "10.0.0.1:5", thumbprint(der)},
		"anybody":                  {true, "192.0.2.1:5", ""},
		"a proxy, but not its job": {false, "10.0.0.1:5", ""},
	} {
		cfg := DefaultConfig()
		cfg.ClientCertHeader = tt.believe
		c := New(cfg, nil, clock.Real(), clientaddr.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.RemoteAddr = tt.from
		r.Header.Set(clientCert, ":"+base64.StdEncoding.EncodeToString(der)+":")
		r.Header.Set(clientCertChain, "x")
		ctx := arrival.OfHTTP(t.Context(), r)
		if got := c.Certificate(ctx); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		c.Strip(ctx, r.Header)
		if there := r.Header.Get(clientCert) != "" && r.Header.Get(clientCertChain) != ""; there != (tt.want != "") {
			t.Errorf("%s: the headers are left: %v", name, r.Header)
		}
	}
}
