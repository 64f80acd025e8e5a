package allinone

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/services/allinone/internal/parts"
)

// The worker is given the quantiser that was found, and none where only the
// simulated engine runs, and whether engines are batch work.
func TestTheWorkerIsGivenTheQuantiser(t *testing.T) {
	p := &platform{cfg: DefaultConfig(), dir: &dataDir{path: t.TempDir()}}
	cfg, err := p.workerConfig(parts.Parts{LlamaServer: "/e/llama-server", LlamaQuantize: "/q/llama-quantize", LlamaPerplexity: "/e/llama-perplexity"})
	if err != nil {
		t.Fatal(err)
	}
	if l := cfg.Engines.LlamaServer; l.Path != "/e/llama-server" || l.Quantize != "/q/llama-quantize" || l.Perplexity != "/e/llama-perplexity" {
		t.Errorf("given %+v", l)
	}
	cfg, err = p.workerConfig(parts.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	if !cfg.Engines.Batch {
		t.Error("by default engines are not batch work")
	}
	p.cfg.EnginesBatch = false
	if cfg, err := p.workerConfig(parts.Parts{}); err != nil || cfg.Engines.Batch {
		t.Errorf("told otherwise, %v", err)
	}
	if l := cfg.Engines.LlamaServer; l.Path != "" || l.Quantize != "" || l.Perplexity != "" {
		t.Errorf("of the simulator: %+v", l)
	}
}

// What the registry, the edge, inference and the worker are told by flags reaches
// them, and the three that check signatures are told the same.
func TestFlagsReachTheServices(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ExperimentHeaders = []string{"x-team"}
	cfg.ProtectedAliases = []string{"prod*"}
	cfg.WebhookAddresses = []string{"127.0.0.0/8"}
	cfg.TrustedKeys, cfg.RequireSignatures = []string{"H+wZmo10tr4ZsaJA9PolFbXffly3hpwVg9PDtz4RZhs="}, true
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p := &platform{cfg: cfg, dir: &dataDir{path: t.TempDir()}}
	r := p.registryConfig()
	if !slices.Equal(r.Aliases.Protected, cfg.ProtectedAliases) || !slices.Equal(r.Webhooks.AllowAddresses, cfg.WebhookAddresses) {
		t.Errorf("the registry has %+v and %+v", r.Aliases, r.Webhooks)
	}
	e, err := p.edgeConfig()
	hooks := e.Security.Webhooks
	if err != nil || !slices.Equal(e.OpenAI.ExperimentHeaders, cfg.ExperimentHeaders) || e.Security.Login.Enabled() || !slices.Equal(hooks.AllowNetworks, cfg.WebhookAddresses) || !hooks.AllowHTTP {
		t.Errorf("the edge has %v, %v", e.OpenAI.ExperimentHeaders, err)
	}
	w, err := p.workerConfig(parts.Parts{})
	if err != nil {
		t.Fatal(err)
	}
	for who, got := range map[string]signing.Config{"registry": r.Signatures, "inference": p.inferenceConfig().Signatures, "worker": w.Signatures} {
		if !got.Required || !slices.Equal(got.TrustedKeys, cfg.TrustedKeys) {
			t.Errorf("the %s has %+v", who, got)
		}
	}
}

// Each flag that holds nonsense is named, with what is wrong with it.
func TestFlagsForTheServicesAreChecked(t *testing.T) {
	cfg := DefaultConfig()
	cfg.ExperimentHeaders = []string{"Authorization"}
	cfg.ProtectedAliases = []string{"no alias"}
	cfg.WebhookAddresses = []string{"localhost"}
	cfg.RequireSignatures = true
	err := cfg.Validate()
	for _, flag := range []string{"--experiment-header", "--protect-alias", "--webhook-addresses", "--trust-key"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not named: %v", flag, err)
		}
	}
}

// The flags about logging in become the edge's section, and what is wrong with them is
// told before anything starts.
func TestLoginFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Login = Login{Issuer: "https://id.example", ClientID: "poterne", SecretFile: file}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p := &platform{cfg: cfg, dir: &dataDir{path: t.TempDir()}}
	e, err := p.edgeConfig()
	if err != nil {
		t.Fatal(err)
	}
	if l := e.Security.Login; !l.Enabled() || l.Provider.ClientSecret.Reveal() != "hunter2" || l.PublicURL != "http://127.0.0.1:8080" {
		t.Errorf("%+v", l)
	}
	for flag, change := range map[string]func(*Config){
		"--login-issuer":             func(c *Config) { c.Login.Issuer = "http://id.example" },
		"--login-client-id":          func(c *Config) { c.Login.ClientID = "" },
		"--login-url":                func(c *Config) { c.HTTPAddr = "0.0.0.0:8080" },
		"--login-client-secret-file": func(c *Config) { c.Login.SecretFile = file + "x" },
	} {
		wrong := cfg
		change(&wrong)
		if err := wrong.Validate(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
