//go:build real

package e2e

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/devca"
)

// edgeAlone is an edge as a process of its own, with nothing behind it.
type edgeAlone struct {
	*process.Process
	http, redirect int
}

// startEdge runs an edge with the settings besides its addresses.
func startEdge(t *testing.T, name string, ports []int, settings ...string) *edgeAlone {
	t.Helper()
	dir := t.TempDir()
	e := &edgeAlone{http: ports[0], redirect: ports[1]}
	settings = append([]string{
		"data_dir=" + dir, "http.addr=" + address(ports[0]), "grpc.addr=" + address(ports[2]), "telemetry.ops_addr=" + address(ports[3]),
	}, settings...)
	var args []string
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	e.Process = start(t, process.Spec{
		Name: name, Path: filepath.Join(binDir(t), "poterne-edge"), Args: args, Dir: dir,
		Ready: process.HTTPReady("http://"+address(ports[3])+"/livez", nil),
	})
	return e
}

// start runs a process until the test ends.
func start(t *testing.T, spec process.Spec) *process.Process {
	t.Helper()
	state := t.TempDir()
	for _, dir := range []string{"log", "run"} {
		if err := os.MkdirAll(filepath.Join(state, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := process.New(spec, state)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			logTail(t, p.LogPath())
		}
	})
	if err := p.Start(t.Context()); err != nil {
		logTail(t, p.LogPath())
		t.Fatal(err)
	}
	return p
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	ports, err := process.FreePorts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func part(t *testing.T, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		t.Fatalf("%s is not set: scripts/components.sh env says it", name)
	}
	return path
}

// TestRealTestSSL has testssl.sh look at the edge's own HTTPS port, with the
// settings that it has by itself and a certificate as public authorities issue
// them. Nothing may be worse than LOW.
func TestRealTestSSL(t *testing.T) {
	program := part(t, "POTERNE_TESTSSL")
	ca, err := devca.New("an authority of a test")
	if err != nil {
		t.Fatal(err)
	}
	dir, now := t.TempDir(), time.Now()
	if err := ca.WriteFiles(dir, nil, devca.Valid(now.Add(-time.Hour), now.Add(89*24*time.Hour)), func(c *x509.Certificate) {
		c.Subject.CommonName = "localhost"
		c.CRLDistributionPoints = []string{"http://crl.example/1.crl"}
	}); err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, "edge", freePorts(t, 4),
		"http.tls.cert_file="+filepath.Join(dir, devca.CertFile), "http.tls.key_file="+filepath.Join(dir, devca.KeyFile))
	report := filepath.Join(dir, "report.json")
	// Protocols, ciphers, forward secrecy, what the server offers, the header of an
	// answer, and the known holes.
	cmd := exec.CommandContext(t.Context(), program, "--quiet", "--color", "0", "--warnings", "batch", "--fast", "--openssl-timeout", "10",
		"-p", "-s", "-f", "-S", "-h", "-U", "--add-ca", filepath.Join(dir, devca.CAFile), "--jsonfile", report, address(e.http))
	out, err := cmd.CombinedOutput()
	t.Logf("%s\n%v", out, err) // its exit code counts findings of every kind
	raw, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal(raw, &findings); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, f := range findings {
		seen = append(seen, f.ID)
		switch {
		case slices.Contains([]string{"OK", "INFO", "LOW", "DEBUG"}, f.Severity):
		case f.ID == "engine_problem": // of the openssl that it runs
		default:
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	// A scan that was cut short has found nothing either.
	for _, id := range []string{"TLS1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "FS|PFS", "cert_chain_of_trust", "HSTS_time", "heartbleed", "BREACH", "LUCKY13", "scanTime"} {
		if !slices.ContainsFunc(strings.Split(id, "|"), func(one string) bool { return slices.Contains(seen, one) }) {
			t.Errorf("testssl.sh did not look at %s", id)
		}
	}
}
