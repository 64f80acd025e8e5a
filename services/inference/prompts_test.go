package inference_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// heard is the bodies that the engine got.
type heard struct {
	mu     sync.Mutex
	bodies []string
}

func (h *heard) options(change func(*inference.Config)) meshOptions {
	note := func(body []byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.bodies = append(h.bodies, string(body))
	}
	return meshOptions{config: change, worker: func(_ int, w *fakes.Worker) {
		w.OnInvoke = func(_ context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
			note(req.GetBody())
			return &workerv1.InvokeResponse{Body: []byte(`{}`)}, nil
		}
		w.OnStream = func(req *workerv1.InvokeRequest, stream workerStream) error {
			note(req.GetBody())
			return stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Finish{Finish: &workerv1.Finish{}}})
		}
	}}
}

func (h *heard) last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.bodies[len(h.bodies)-1]
}

func prompted(model, id, version string, variables map[string]string) *inferencev1.InvokeRequest {
	req := chat(model, `{"model":"x", "messages" : [ {"role":"user","content":"Hi"}],"seed":1}`)
	req.Prompt = &inferencev1.Prompt{Id: id, Version: version, Variables: variables}
	return req
}

// A conversation begins with the prompt that it names, filled in; everything else of
// it reaches the engine as it came.
func TestPromptGoesBeforeTheMessages(t *testing.T) {
	var h heard
	m := newMesh(t, 1, h.options(nil), fakes.Model("m", 1))
	m.registry.PutPrompt(fakes.Prompt("greeting", []string{"!name", "tone"},
		"Greet {{name}}.", `Greet {{name}}{{#tone}}, {{tone}}{{/tone}} <b>&"`))
	m.awaitReady(t, "m", 1)
	m.awaitPrompt(t, "greeting")
	const rest = ` {"role":"user","content":"Hi"}],"seed":1}`
	for name, c := range map[string]struct {
		version string
		tone    string
		number  int32
		want    string
	}{
		"production": {"", "", 2, `Greet Ada <b>&\"`},
		"an alias":   {"production", "warm {{name}}", 2, `Greet Ada, warm {{name}} <b>&\"`},
		"a number":   {"1", "", 1, "Greet Ada."},
		"with a v":   {"v2", "", 2, `Greet Ada <b>&\"`},
		"a digest":   {fakes.Digest("greetingGreet {{name}}."), "", 1, "Greet Ada."},
	} {
		variables := map[string]string{"name": "Ada"}
		if c.tone != "" {
			variables["tone"] = c.tone
		}
		resp, err := m.client.Invoke(caller(t), prompted("m", "greeting", c.version, variables))
		if by := resp.GetServedBy(); err != nil || by.GetPrompt() != "greeting" || by.GetPromptVersion() != c.number || by.GetPromptDigest() == "" {
			t.Fatalf("%s: served by %v, %v", name, by, err)
		}
		if want := `{"model":"x", "messages" : [{"role":"system","content":"` + c.want + `"},` + rest; h.last() != want {
			t.Errorf("%s: the engine got\n%s, want\n%s", name, h.last(), want)
		}
	}
	req := prompted("m", "greeting", "1", map[string]string{"name": "Bo"})
	req.Body = []byte(`{"messages":[]}`)
	if arm := streamed(t, m, req); arm != "" || h.last() != `{"messages":[{"role":"system","content":"Greet Bo."}]}` {
		t.Errorf("the engine got %s of a stream", h.last())
	}
}

func TestPromptsThatCannotBeFilledIn(t *testing.T) {
	var h heard
	m := newMesh(t, 1, h.options(nil), fakes.Model("m", 1))
	m.registry.PutPrompt(fakes.Prompt("greeting", []string{"!name", "tone"}, strings.Repeat("{{name}}", 20)))
	m.awaitReady(t, "m", 1)
	m.awaitPrompt(t, "greeting")
	ada := map[string]string{"name": "Ada"}
	completion, listless := prompted("m", "greeting", "", ada), prompted("m", "greeting", "", ada)
	completion.Operation, completion.Body = workerv1.Operation_OPERATION_COMPLETION, []byte(`{"prompt":"x"}`)
	listless.Body = []byte(`{"messages":"x"}`)
	for name, c := range map[string]struct {
		req    *inferencev1.InvokeRequest
		reason apierr.Reason
		field  string
	}{
		"no such prompt":   {prompted("m", "absent", "", ada), apierr.NotFound, "prompt.id"},
		"no such version":  {prompted("m", "greeting", "7", ada), apierr.NotFound, "prompt.version"},
		"no such alias":    {prompted("m", "greeting", "canary", ada), apierr.NotFound, "prompt.version"},
		"missing":          {prompted("m", "greeting", "", nil), apierr.InvalidArgument, "prompt.variables.name"},
		"unknown":          {prompted("m", "greeting", "", map[string]string{"name": "Ada", "age": "3"}), apierr.InvalidArgument, "prompt.variables.age"},
		"too long":         {prompted("m", "greeting", "", map[string]string{"name": strings.Repeat("x", 65536)}), apierr.InvalidArgument, "prompt.variables"},
		"not a chat":       {completion, apierr.InvalidArgument, "prompt"},
		"no list to begin": {listless, apierr.InvalidArgument, "messages"},
	} {
		if _, err := m.client.Invoke(caller(t), c.req); apierr.ReasonOf(err) != c.reason || apierr.From(err).Field != c.field {
			t.Errorf("%s: %v at %q", name, err, apierr.From(err).Field)
		}
	}
	if len(h.bodies) != 0 {
		t.Error("the engine was asked")
	}
}

// An A/B of two prompts on one version: the arm decides, whatever prompt the request
// names, and what came of it is counted by the prompt.
func TestArmsOfTwoPrompts(t *testing.T) {
	var h heard
	spool := t.TempDir()
	m := newMesh(t, 1, h.options(func(c *inference.Config) { c.Outcomes.SpoolDir = spool }),
		fakes.Model("m", 1,
			fakes.SplitPrompt("short", 1, 500_000, &registryv1.PromptReference{Prompt: "greeting", Version: 1}),
			fakes.SplitPrompt("long", 1, 500_000, &registryv1.PromptReference{Prompt: "greeting", Alias: "production"})),
		fakes.Model("x", 1, fakes.Experiment("wording", func(e *registryv1.Experiment) {
			e.Arms[0].Prompt = &registryv1.PromptReference{Prompt: "other", Version: 1}
		}, 1)))
	m.registry.PutPrompt(fakes.Prompt("greeting", []string{"name"}, "Short{{name}}.", "Long{{name}}."))
	m.registry.PutPrompt(fakes.Prompt("other", []string{"!tone"}, "Other {{tone}}."))
	m.awaitReady(t, "m", 1)
	m.awaitReady(t, "x", 1)
	m.awaitPrompt(t, "other")
	want := map[string]int64{}
	for i := range 40 {
		req := chat("m", `{"messages":[{"role":"user","content":"Hi"}]}`)
		if i%2 == 0 { // named or not: the arm's is taken, with the variables that are its own
			req.Prompt = &inferencev1.Prompt{Id: "greeting", Version: "2", Variables: map[string]string{"name": " Ada"}}
		}
		req.RoutingKey = fmt.Sprint("user", i)
		resp, err := m.client.Invoke(caller(t), req)
		if err != nil {
			t.Fatal(err)
		}
		by, says := resp.GetServedBy(), "Short"
		if by.GetArm() == "long" {
			says = "Long"
		}
		if i%2 == 0 {
			says += " Ada"
		}
		if !strings.Contains(h.last(), `"content":"`+says+`."`) || by.GetPrompt() != "greeting" || (by.GetPromptVersion() == 1) != (by.GetArm() == "short") {
			t.Fatalf("arm %s, prompt %d: %s", by.GetArm(), by.GetPromptVersion(), h.last())
		}
		want[by.GetArm()+fmt.Sprint(by.GetPromptVersion())]++
	}
	// Variables are held against what the request names; what the arm's needs must be there.
	other := chat("x", `{"messages":[]}`)
	_, err := m.client.Invoke(caller(t), other)
	if apierr.From(err).Field != "prompt.variables.tone" {
		t.Errorf("without the arm's variable: %v", err)
	}
	req := prompted("x", "greeting", "", map[string]string{"name": "Ada", "tone": "x"})
	if _, err = m.client.Invoke(caller(t), req); apierr.From(err).Field != "prompt.variables.tone" {
		t.Errorf("with a variable that the named prompt has not: %v", err)
	}
	if resp, err := m.client.Invoke(caller(t), prompted("x", "other", "", map[string]string{"tone": "kind"})); err != nil ||
		resp.GetServedBy().GetExperiment() != "wording" || resp.GetServedBy().GetPrompt() != "other" {
		t.Errorf("an experiment's arm: %v, %v", resp, err)
	}
	// Who names a version passes the arms by, and their prompts.
	if resp, err := m.client.Invoke(caller(t), chat("m@v1", `{"messages":[]}`)); err != nil || resp.GetServedBy().GetPrompt() != "" {
		t.Errorf("a version by its number: %v, %v", resp, err)
	}
	m.stop()
	got := map[string]int64{}
	for _, b := range m.registry.Reported() {
		for _, o := range b.GetOutcomes() {
			if o.GetModel() == "m" && o.GetArm() != "" {
				got[o.GetArm()+fmt.Sprint(o.GetPromptVersion())] += o.GetSums().GetRequests()
			}
		}
	}
	if len(got) != 2 || got["short1"] != want["short1"] || got["long2"] != want["long2"] || want["short1"] == 0 || want["long2"] == 0 {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// Prompts are in the kept snapshot: with the registry away a new process fills in.
func TestPromptsWithTheRegistryAway(t *testing.T) {
	var h heard
	file := filepath.Join(t.TempDir(), "snapshot")
	o := h.options(func(c *inference.Config) { c.Registry.SnapshotFile = file })
	m := newMesh(t, 1, o, fakes.Model("m", 1))
	m.registry.PutPrompt(fakes.Prompt("greeting", nil, "Be brief."))
	m.awaitReady(t, "m", 1)
	m.awaitPrompt(t, "greeting")
	m.registry.Cut(true)
	m.stop()
	cfg := inference.DefaultConfig()
	cfg.GRPC.Addr, cfg.Telemetry.OpsAddr, cfg.Registry.SnapshotFile = "127.0.0.1:0", "", file
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	m.run(t, cfg)
	m.awaitReady(t, "m", 1)
	if resp, err := m.client.Invoke(caller(t), prompted("m", "greeting", "", nil)); err != nil || resp.GetServedBy().GetPromptVersion() != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
}

// awaitPrompt waits until the service knows the prompt.
func (m *mesh) awaitPrompt(t *testing.T, name string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req := prompted("m@v1", name, "", map[string]string{"no_such_variable": ""})
		if _, err := m.client.Invoke(caller(t), req); apierr.ReasonOf(err) != apierr.NotFound {
			return
		}
		<-tick.C
	}
}
