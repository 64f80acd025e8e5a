package cli_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/allinone"
	"github.com/poterne/poterne/services/allinone/internal/cli"
	"github.com/poterne/poterne/services/worker/sim"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "sim" {
		os.Exit(sim.Main(os.Args[2:])) //nolint:forbidigo // here it is the engine's main
	}
	m.Run()
}

// running is an all-in-one on the simulated engine.
type running struct {
	t        *testing.T
	url, key string
}

func startAll(t *testing.T) *running {
	t.Helper()
	cfg := allinone.DefaultConfig()
	cfg.DataDir, cfg.Engine, cfg.LogLevel = t.TempDir(), allinone.EngineSim, "error"
	for _, addr := range []*string{&cfg.HTTPAddr, &cfg.GRPCAddr, &cfg.OpsAddr} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*addr = l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- allinone.Run(ctx, cfg, "test", io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			resp, err := http.Get("http://" + cfg.OpsAddr + "/readyz")
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				continue
			}
			key, err := os.ReadFile(filepath.Join(cfg.DataDir, "admin.key"))
			if err != nil {
				t.Fatal(err)
			}
			return &running{t, "http://" + cfg.HTTPAddr, strings.TrimSpace(string(key))}
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v", err)
		case <-deadline:
			t.Fatal("not ready within two minutes")
		}
	}
}

const everyKind = `kind: Prompt
name: greeting
versions:
  - {name: first, messages: [{role: system, content: "Greet {{name}}."}], variables: [{name: name, required: true}]}
  - {name: second, description: better, messages: [{role: system, content: "Greet {{name}} well."}], variables: [{name: name}]}
aliases: {production: second, staging: first}
---
{kind: Model, name: price, display_name: Price, task: chat, owner: ana, licence: MIT, labels: {team: search}, card: "# Price\nIt says prices.\n"}
---
kind: Version
model: price
name: one
description: the first one
labels: {a: b}
metrics: {acc: 0.5}
licence: Apache-2.0
lineage: {training_run_uri: "https://example.org/run/1"}
io_schema: {input_json_schema: '{"type":"object"}', inputs: [{name: x, datatype: FP32, shape: [-1, 3]}]}
spec: {task: chat, engine: sim, parameters: {seed: "1"}, context_length: 4096, prompt_template: "{{ messages }}"}
variants:
  - name: q8
    quality: {perplexity: 10.2, source_perplexity: 10}
    spec: {task: chat, engine: sim, parameters: {seed: "8"}, context_length: 4096, prompt_template: "{{ messages }}"}
---
{kind: Version, model: price, name: two, spec: {task: chat, engine: sim, parameters: {seed: "2"}}}
---
{kind: Alias, model: price, name: production, version: one}
---
kind: Experiment
model: price
name: look
arms: [{name: control, version: one, prompt: greeting@v1, percent: 90}, {name: candidate, alias: production, prompt: greeting, percent: 10}]
targeting: {conditions: [{attribute: tenant, values: [acme], negated: true}]}
layer: ui
share: 500000
sticky_by: session
overrides: [{tenant: default, subject: ana, arm: candidate}]
shadow: {version: two, percent: 1, requests_per_minute: 60}
state: running
---
{kind: AliasProtection, model: price, protected: ["live*"]}
---
{kind: Model, name: rolled}
---
{kind: Version, model: rolled, name: one, spec: {task: chat, engine: sim, parameters: {seed: "1"}}}
---
{kind: Version, model: rolled, name: two, spec: {task: chat, engine: sim, parameters: {seed: "2"}}}
---
{kind: Alias, model: rolled, name: production, version: one}
---
{kind: Model, name: divided}
---
{kind: Version, model: divided, name: one, spec: {task: chat, engine: sim, parameters: {seed: "1"}}}
---
{kind: Split, model: divided, arms: [{name: a, version: one, prompt: greeting@v2, percent: 50}, {name: b, version: one, prompt: greeting@staging, percent: 50}]}
`

const rollout = `{kind: Rollout, model: rolled, name: june, candidate: 2, labels: {a: b}, guardrails: [{metric: error_rate, max_relative: 0.05}],
  steps: [{percent: 1, min_duration: 10m, min_requests: 1000}, {percent: 100, min_duration: 1h}]}
`

// poterne runs the command line.
func (r *running) poterne(stdin string, args ...string) (code int, out string) {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	env := map[string]string{"POTERNE_URL": r.url, "POTERNE_API_KEY": r.key, "HOME": r.t.TempDir()}
	code = cli.Main(r.t.Context(), "test", args, cli.Streams{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr},
		func(name string) string { return env[name] })
	return code, stdout.String() + stderr.String()
}

// Whatever kind is got as YAML can be applied again, and changes nothing; and an
// archive of it all is the same as what is there.
func TestFilesOfEveryKind(t *testing.T) {
	r := startAll(t)
	run := func(want int, stdin string, args ...string) string {
		t.Helper()
		code, out := r.poterne(stdin, args...)
		if code != want {
			t.Fatalf("%v: code %d\n%s", args, code, out)
		}
		return out
	}
	run(1, everyKind, "diff", "-f", "-")
	if out := run(0, everyKind, "apply", "-f", "-"); !strings.Contains(out, "experiment price/look") {
		t.Error(out)
	}
	run(0, rollout, "apply", "-f", "-")
	for _, text := range []string{everyKind, rollout} {
		if out := run(0, text, "apply", "-f", "-"); !strings.Contains(out, "nothing to change") && text == everyKind {
			t.Errorf("again: %s", out)
		}
	}
	dir := t.TempDir()
	for i, get := range []string{
		"models get price", "versions get price 1", "versions get price 2", "aliases get price production", "experiments get price look",
		"aliases protect price", "prompts get greeting", "splits get divided", "rollouts get rolled june",
	} {
		text := run(0, "", append(strings.Fields(get), "-o", "yaml")...)
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := run(0, "", "diff", "-f", dir); out != "" {
		t.Errorf("what was got differs from what is there:\n%s", out)
	}
	if out := run(0, "", "apply", "-f", dir); !strings.Contains(out, "nothing to change: 9 resources") {
		t.Error(out)
	}
	for _, refused := range []struct{ text, want string }{
		{"{kind: Experiment, model: price, name: look, salt: x}", "salt cannot be changed by a file"},
		{"{kind: Experiment, model: price, name: look, layer: x}", "layer cannot be changed by a file: the experiment is running"},
		{"{kind: Experiment, model: price, name: look, state: draft}", "from running to draft"},
		{"{kind: Experiment, model: price, name: look, arms: [{name: control, version: 1, prompt: greeting@v2, percent: 90}, " +
			"{name: candidate, alias: production, prompt: greeting, percent: 10}]}", "arms[0].prompt stays greeting@v1"},
		{"{kind: Version, model: price, number: 1, spec: {task: chat, engine: sim}}", "what a version is never changes"},
		{"{kind: Version, model: price, digest: 'sha256:0', spec: {task: chat, engine: sim}}", "digest cannot be changed"},
		{"{kind: Model, name: price, task: tensor}", "task cannot be changed"},
		{strings.Replace(rollout, "1000", "2000", 1), "a rollout's plan never changes"},
		{"{kind: Alias, model: none, name: a, version: 1}", `there is no model "none"`},
	} {
		if code, out := r.poterne(refused.text, "apply", "-f", "-"); code == 0 || !strings.Contains(out, "-:1:") || !strings.Contains(out, refused.want) {
			t.Errorf("%s: code %d, %s", refused.text, code, out)
		}
	}
	// A split's arms are as they are written, with their prompts or without.
	const without = "{kind: Split, model: divided, arms: [{name: a, version: 1, prompt: greeting@v2, percent: 50}, {name: b, version: 1, percent: 50}]}"
	if out := run(1, without, "diff", "-f", "-"); !strings.Contains(out, "-    prompt: greeting@staging") && !strings.Contains(out, "-  prompt: greeting@staging") ||
		strings.Contains(out, "-  prompt: greeting@v2") {
		t.Errorf("diff: %s", out)
	}
	run(0, without, "apply", "-f", "-")
	if out := run(0, "", "splits", "get", "divided", "-o", "yaml"); strings.Count(out, "prompt:") != 1 {
		t.Errorf("the split is %s", out)
	}
	run(0, "{kind: Experiment, model: price, name: look, description: prices}", "apply", "-f", "-")
	if out := run(0, "", "experiments", "get", "price", "look", "-o", "yaml"); !strings.Contains(out, "description: prices") || strings.Count(out, "prompt:") != 2 {
		t.Errorf("the experiment is %s", out)
	}
	// Weights and state of a running experiment are changed by what changes them.
	ramped := strings.NewReplacer("percent: 90", "percent: 75", "percent: 10}", "percent: 25}").Replace(everyKind)
	if out := run(0, ramped, "apply", "-f", "-"); !strings.Contains(out, "0 created, 2 updated") {
		t.Error(out)
	}
	run(0, "", "rollouts", "abort", "rolled", "june") // it would move while it is exported
	file := filepath.Join(t.TempDir(), "all.zip")
	run(0, "", "registry", "export", file)
	if out := run(0, "", "registry", "import", file, "-o", "json"); strings.Contains(out, "created") || strings.Count(out, "unchanged") < 5 {
		t.Errorf("an archive of what is there: %s", out)
	}
}
