package edge_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge"
)

func TestConfigDefaultsAreComplete(t *testing.T) {
	cfg := edge.DefaultConfig()
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	if got := cfg.Security.Store.DSN.Reveal(); got != "sqlite:.poterne/edge.db" {
		t.Errorf("the store is %q", got)
	}
	out, err := config.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"data_dir:", "http:", "store:", "api_keys:", "limits:", "audit:", "keep_alive:", "discovery:"} {
		if !strings.Contains(string(out), key) {
			t.Errorf("the printed configuration lacks %s", key)
		}
	}
}

func TestConfigListsEveryProblem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "edge.yaml")
	text := `
http: {addr: nowhere, max_body_bytes: 1GiB, colour: red, cors: {origins: ["example.com"]}}
grpc: {addr: 127.0.0.1:9090}
ready_interval: soon
store: {dsn: "postgres://edge:hunter2@db/edge"}
limits: {requests_per_minute: -1}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := edge.DefaultConfig()
	loading := config.Load(cfg, config.Sources{File: file, Env: []string{"POTERNE_HTTP_IDLE_TIMEOUT=-1s"}})
	completing := cfg.Complete()
	if loading == nil || completing == nil {
		t.Fatalf("accepted: %v, %v", loading, completing)
	}
	all := loading.Error() + completing.Error()
	for _, want := range []string{
		"http.colour", "ready_interval", "http.addr", "http.max_body_bytes", "http.cors.origins", "http.idle_timeout",
		"limits.requests_per_minute",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s is not named in\n%s", want, all)
		}
	}
	if strings.Contains(all, "hunter2") {
		t.Error("a secret is shown")
	}
}
