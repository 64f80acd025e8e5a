package arrival_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/services/edge/internal/arrival"
)

func TestHTTP(t *testing.T) {
	cert := new(x509.Certificate)
	r := httptest.NewRequest(http.MethodGet, "/v1/models", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	if a := arrival.From(arrival.OfHTTP(t.Context(), r)); a.Request != r || a.Certificate != nil {
		t.Errorf("a certificate that nobody verified: %+v", a)
	}
	r.TLS.VerifiedChains = [][]*x509.Certificate{{cert}}
	if a := arrival.From(arrival.OfHTTP(t.Context(), r)); a.Certificate != cert {
		t.Errorf("%+v", a)
	}
}

func TestGRPC(t *testing.T) {
	cert := new(x509.Certificate)
	info := credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{cert}}}}
	if a := arrival.From(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info})); a.Certificate != cert || a.Request != nil {
		t.Errorf("%+v", a)
	}
	if a := arrival.From(t.Context()); a != (arrival.Arrival{}) {
		t.Errorf("out of nowhere: %+v", a)
	}
}
