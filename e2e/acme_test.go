//go:build real

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/devca"
)

// pebble is an ACME server, and how it looks at us.
type pebble struct {
	directory, management, ca string
	client                    *http.Client
}

// The account that pebble knows already.
const (
	eabKeyID = "kid-1"
	eabKey   = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
)

// startPebble runs one that looks for challenges at the ports, and issues
// certificates for so long.
func startPebble(t *testing.T, httpPort, tlsPort int, validity time.Duration) *pebble {
	t.Helper()
	bin := part(t, "POTERNE_PEBBLE_BIN_DIR")
	ports := freePorts(t, 4)
	ca, err := devca.New("pebble's own authority")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.WriteFiles(dir, nil); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address(ports[0]), "managementListenAddress": address(ports[1]),
		"certificate": filepath.Join(dir, devca.CertFile), "privateKey": filepath.Join(dir, devca.KeyFile),
		"httpPort": httpPort, "tlsPort": tlsPort, "ocspResponderURL": "",
		"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{eabKeyID: eabKey},
		"profiles": map[string]any{"default": map[string]any{"description": "of a test", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	// Every name is this machine's.
	start(t, process.Spec{
		Name: "dns", Path: filepath.Join(bin, "pebble-challtestsrv"),
		Args: []string{
			"-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", address(ports[2]), "-management", address(ports[3]),
			"-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
		},
		Ready: process.TCPReady(address(ports[3])),
	})
	p := &pebble{
		directory: "https://" + address(ports[0]) + "/dir", management: "https://" + address(ports[1]), ca: filepath.Join(dir, devca.CAFile),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}},
	}
	start(t, process.Spec{
		Name: "pebble", Path: filepath.Join(bin, "pebble"), Args: []string{"-config", file, "-dnsserver", address(ports[2]), "-strict"},
		Env: []string{"PEBBLE_VA_NOSLEEP=1"}, Ready: process.TCPReady(address(ports[0])),
	})
	return p
}

// root is the authority that pebble issues from, which it makes at its start.
func (p *pebble) root(t *testing.T) *x509.CertPool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.management+"/roots/0", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatalf("no certificate: %s", raw)
	}
	return pool
}

func (p *pebble) settings(cache string) []string {
	return []string{
		"http.tls.acme.hosts=gate.example.test", "http.tls.acme.directory_url=" + p.directory, "http.tls.acme.ca_file=" + p.ca,
		"http.tls.acme.accept_terms=true", "http.tls.acme.email=admin@example.test", "http.tls.acme.cache_dir=" + cache,
		"http.tls.acme.eab_key_id=" + eabKeyID, "http.tls.acme.eab_key=" + eabKey,
	}
}

// shown asks the edge for its start page as gate.example.test, and returns the
// serial number of the certificate that it shows.
func shown(ctx context.Context, e *edgeAlone, roots *x509.CertPool, name string) (string, error) {
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS13}}
	conn, err := dialer.DialContext(ctx, "tcp", address(e.http))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return "", errors.New("no TLS")
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
		return "", err
	}
	if answer, err := io.ReadAll(conn); err != nil || len(answer) < 15 || string(answer[:15]) != "HTTP/1.1 200 OK" {
		return "", fmt.Errorf("answered %q: %w", answer, err)
	}
	return secured.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func waitShown(t *testing.T, e *edgeAlone, roots *x509.CertPool) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var serial string
	if err := process.Poll(ctx, func(ctx context.Context) (err error) {
		serial, err = shown(ctx, e, roots, "gate.example.test")
		return err
	}); err != nil {
		t.Fatalf("no certificate was obtained: %v", err)
	}
	return serial
}

// TestRealACME obtains certificates from an ACME server, by either challenge and
// for an account that is bound to one outside, and renews them.
func TestRealACME(t *testing.T) {
	t.Run("TLS-ALPN-01", func(t *testing.T) {
		ports := freePorts(t, 5)
		p := startPebble(t, ports[4], ports[0], 90*24*time.Hour) // nobody listens for HTTP-01
		e := startEdge(t, "edge", ports, p.settings(t.TempDir())...)
		waitShown(t, e, p.root(t))
		if _, err := shown(t.Context(), e, p.root(t), "other.example.test"); err == nil {
			t.Error("a certificate for a name that is not configured")
		}
	})
	t.Run("HTTP-01, and a cache that two share", func(t *testing.T) {
		ports, cache := freePorts(t, 5), t.TempDir()
		p := startPebble(t, ports[1], ports[4], 90*24*time.Hour) // nobody listens for TLS-ALPN-01
		settings := append(p.settings(cache), "http.tls.redirect_addr="+address(ports[1]))
		e := startEdge(t, "edge-1", ports, settings...)
		first := waitShown(t, e, p.root(t))
		// The other one needs no authority: its directory is nowhere.
		lost := slices.Concat(settings, []string{"http.tls.acme.directory_url=https://127.0.0.1:1/dir"})
		more := freePorts(t, 4)
		lost[len(lost)-2] = "http.tls.redirect_addr=" + address(more[1])
		second := startEdge(t, "edge-2", more, lost...)
		if serial := waitShown(t, second, p.root(t)); serial != first {
			t.Errorf("the second edge shows %s, the first %s", serial, first)
		}
	})
	t.Run("renewal", func(t *testing.T) {
		ports := freePorts(t, 5)
		p := startPebble(t, ports[4], ports[0], 15*time.Second) // due after ten of them
		e := startEdge(t, "edge", ports, p.settings(t.TempDir())...)
		roots := p.root(t)
		first := waitShown(t, e, roots)
		for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
			serial, err := shown(t.Context(), e, roots, "gate.example.test")
			if err != nil {
				t.Fatalf("a request failed while the certificate was renewed: %v", err)
			}
			if serial != first {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the certificate was not renewed")
			}
		}
	})
}
