//go:build real

package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/pkg/devca"
)

// TestRealMeshMutualTLS holds that every port between services refuses who has no
// certificate of the deployment with an id that is allowed there, and that
// certificates which are replaced under load, while connections end and are made
// again, fail no request.
func TestRealMeshMutualTLS(t *testing.T) {
	// Connections are made again all the time, each with the files of that moment.
	m, g := startMesh(t, mesh.EngineSim, "POTERNE_GRPC_MAX_CONNECTION_AGE=1s")
	t.Run("strangers", func(t *testing.T) { strangers(t, m) })
	t.Run("rotation", func(t *testing.T) {
		port := address(m.Ports().Registry.GRPC)
		load := g.StartLoad(t.Context(), 8, 24)
		waitAnswered(t, load, 20)
		seen := map[string]bool{}
		const rotations = 5
		for range rotations {
			if err := m.IssueCertificates(); err != nil {
				t.Fatal(err)
			}
			// The files are looked at again when a second has passed.
			<-time.After(1500 * time.Millisecond)
			waitAnswered(t, load, 20)
			serial, err := call(t, port, issued(t, m.Authority(), mesh.ID("edge")))
			if err != nil {
				t.Fatal(err)
			}
			seen[serial] = true
		}
		if len(seen) != rotations {
			t.Errorf("%d certificates were shown in %d rotations", len(seen), rotations)
		}
		whole := 0
		for _, o := range load.Stop() {
			if o.Err != "" {
				t.Errorf("a chat failed: %+v", o)
			}
			whole++
		}
		t.Logf("%d chats in %d rotations", whole, rotations)
	})
}

func strangers(t *testing.T, m *mesh.Mesh) {
	other, err := devca.New("another authority")
	if err != nil {
		t.Fatal(err)
	}
	p := m.Ports()
	for name, port := range map[string]struct {
		port int
		from string // who may call
	}{
		"registry": {p.Registry.GRPC, "worker"}, "search": {p.Search.GRPC, "edge"},
		"inference-1": {p.Inference[0].GRPC, "search"}, "inference-2": {p.Inference[1].GRPC, "edge"},
		"worker-1": {p.Worker[0].GRPC, "inference"}, "worker-2": {p.Worker[1].GRPC, "inference"},
	} {
		good := mesh.ID(port.from)
		for what, creds := range map[string]credentials.TransportCredentials{
			"in the clear":                insecure.NewCredentials(),
			"without a certificate":       credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}),
			"of another authority":        issued(t, other, good),
			"of another service":          issued(t, m.Authority(), mesh.ID(strings.TrimRight(name, "-12"))),
			"of another trust domain":     issued(t, m.Authority(), strings.Replace(good, "mesh.", "evil.", 1)),
			"without an id":               issued(t, m.Authority()),
			"with two ids":                issued(t, m.Authority(), good, mesh.ID("registry")),
			"that has expired":            issuedAs(t, m.Authority(), []string{good}, devca.Valid(time.Now().Add(-2*time.Hour), time.Now().Add(-time.Minute))),
			"of what only begins like it": issued(t, m.Authority(), good+"/more"),
		} {
			if _, err := call(t, address(port.port), creds); err == nil {
				t.Errorf("%s: a caller %s was answered", name, what)
			}
		}
		if _, err := call(t, address(port.port), issued(t, m.Authority(), good)); err != nil {
			t.Errorf("%s: %s was refused: %v", name, good, err)
		}
	}
}

func issued(t *testing.T, ca *devca.Authority, ids ...string) credentials.TransportCredentials {
	t.Helper()
	return issuedAs(t, ca, ids)
}

func issuedAs(t *testing.T, ca *devca.Authority, ids []string, changes ...devca.Change) credentials.TransportCredentials {
	t.Helper()
	cert, key, err := ca.Issue(ids, changes...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return credentials.NewTLS(&tls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
	})
}

// call asks a port for its health on a connection of its own, and returns the
// serial number of the certificate that it shows.
func call(t *testing.T, addr string, creds credentials.TransportCredentials) (string, error) {
	t.Helper()
	var shown string
	if info := creds.Info(); info.SecurityProtocol == "tls" {
		creds = &watching{TransportCredentials: creds, shown: &shown}
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return shown, err
}

// watching notes what a server shows.
type watching struct {
	credentials.TransportCredentials
	shown *string
}

func (w *watching) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if state, ok := info.(credentials.TLSInfo); ok {
		*w.shown = state.State.PeerCertificates[0].SerialNumber.String()
	}
	return conn, info, err
}
