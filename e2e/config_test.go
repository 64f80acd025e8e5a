//go:build real

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func runBinary(t *testing.T, name string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(binDir(t), name), args...)
	cmd.Env, cmd.Dir = env, t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// TestRealConfigurations starts every binary with the files of deploy/, and with
// files that are wrong.
func TestRealConfigurations(t *testing.T) {
	for _, kind := range []string{"edge", "inference", "registry", "search", "worker"} {
		t.Run(kind, func(t *testing.T) {
			file, err := filepath.Abs(filepath.Join("..", "deploy", "mesh", kind+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			const secret = "s3cret-that-nobody-may-read"
			env := []string{"POTERNE_DISCOVERY_CONSUL_TOKEN=" + secret}
			switch kind {
			case "edge":
				env = append(env, "POTERNE_STORE_DSN=postgres://u:"+secret+"@h/d", "POTERNE_LIMITS_REDIS_PASSWORD="+secret)
			case "registry", "search":
				env = append(env, "POTERNE_STORE_DSN=postgres://u:"+secret+"@h/d")
			}
			code, out, errs := runBinary(t, "poterne-"+kind, env, "--config", file, "--print-config")
			if code != 0 || !strings.Contains(out, "kind: consul") {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
			if strings.Contains(out+errs, secret) {
				t.Error("--print-config shows a secret")
			}

			bad := filepath.Join(t.TempDir(), "bad.yaml")
			if err := os.WriteFile(bad, []byte("grpc:\n  addr: nowhere\n  port: 127.0.0.1:1\ntelemetry:\n  log_level: loud\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, errs = runBinary(t, "poterne-"+kind, nil, "--config", bad)
			if code != 2 {
				t.Errorf("a wrong file: exit code %d: %s", code, errs)
			}
			for _, problem := range []string{"grpc.addr", "grpc.port", "telemetry.log_level"} {
				if !strings.Contains(errs, problem) {
					t.Errorf("the message does not name %s: %s", problem, errs)
				}
			}
		})
	}
	code, _, errs := runBinary(t, "poterne", nil, "up", "--data-dir", "", "--http-addr", "x", "--engine", "gpu")
	if code != 2 || !strings.Contains(errs, "--http-addr") || !strings.Contains(errs, "--engine") {
		t.Errorf("poterne up: exit code %d: %s", code, errs)
	}
}
