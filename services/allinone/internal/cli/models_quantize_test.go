package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	quantizeStarted = `data: {"started":{"model":"m","version":3,"source_digest":"sha256:0","worker_id":"w1"}}` + "\n\n"
	quantizeVariant = `data: {"variant":{"model":"m","version":3,"name":"q4_k_m","digest":"sha256:4","size_bytes":1073741824,` +
		`"quality":{"perplexity":12.5,"perplexity_error":0.25,"source_perplexity":12,"source_perplexity_error":0.2,"source":"","tokens":2048,"loss":0.0416}}}` + "\n\n"
	quantizeDone = "data: [DONE]\n\n"
)

func quantizePhase(phase string, percent int) string {
	return fmt.Sprintf(`data: {"progress":{"phase":"QUANTIZE_PHASE_%s","percent":%d}}`+"\n\n", phase, percent)
}

// quantizer is a gateway that answers with the given stream, and the last body
// that it was sent.
func quantizer(t *testing.T, stream string) (http.Handler, *map[string]any) {
	t.Helper()
	body := new(map[string]any)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/admin/quantizations", func(w http.ResponseWriter, r *http.Request) {
		*body = nil
		if err := json.NewDecoder(r.Body).Decode(body); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("x-request-id", "req-1")
		fmt.Fprint(w, stream)
	})
	mux.HandleFunc("GET /v1/registry/models/m/versions/3", answer(200, `{"number":3,"spec":{"artifacts":[{"size_bytes":2147483648},`+
		`{"size_bytes":1073741824,"role":"weights"},{"size_bytes":536870912,"role":"projector"}]},"variants":[{"name":"f16","size_bytes":6442450944,"quality":{"loss":-0.001}}]}`))
	return mux, body
}

func TestQuantize(t *testing.T) {
	gateway, body := quantizer(t, ": keep-alive\n\n"+quantizeStarted+quantizePhase("FETCHING", -1)+quantizePhase("MEASURING_SOURCE", 10)+
		quantizePhase("MEASURING_SOURCE", 90)+quantizePhase("QUANTIZING", 50)+quantizePhase("MEASURING", 50)+quantizePhase("STORING", -1)+
		quantizePhase("SOME_NEWS", 1)+quantizeVariant+quantizeDone)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("Été\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := run(t, gateway, "", "models", "quantize", "m@production", "--to", "Q4_K_M", "--text", text,
		"--window", "128", "--allow-requantize", "--worker", "w1", "--threads", "2", "--name", "q4_k_m")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	want := map[string]any{
		"model": "m@production", "source": "", "type": "q4_k_m", "text": "Été\n", "window": 128.0, "allow_requantize": true,
		"worker_id": "w1", "threads": 2.0, "variant": "q4_k_m",
	}
	for key, value := range want {
		if (*body)[key] != value {
			t.Errorf("%s is %v; want %v", key, (*body)[key], value)
		}
	}
	wantErr := "m@v3 on worker w1\nfetching the source\nmeasuring the source\nmaking the weights\nmeasuring the result\nstoring the result\nsome news\n"
	if stderr != wantErr {
		t.Errorf("progress %q; want %q", stderr, wantErr)
	}
	lines := strings.Split(stdout, "\n")
	for i, want := range []string{
		"VARIANT SIZE PERPLEXITY LOSS", "base 3.00 GiB 12.0000 ± 0.2000 0.00%", "q4_k_m 1.00 GiB 12.5000 ± 0.2500 4.16%",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q; want %q", i, got, want)
		}
	}
	code, stdout, stderr = run(t, gateway, "from stdin", "models", "quantize", "m", "--to", "q4_k_m", "--from", "f16", "--text", "-", "-o", "json")
	var variant map[string]any
	if err := json.Unmarshal([]byte(stdout), &variant); code != 0 || err != nil || variant["digest"] != "sha256:4" || (*body)["text"] != "from stdin" {
		t.Errorf("code %d, %v, %s, %s", code, err, stdout, stderr)
	}
	if code, stdout, _ = run(t, gateway, "", "models", "quantize", "m", "--to", "q4_k_m", "--from", "f16"); code != 0 ||
		!strings.Contains(stdout, "6.00 GiB") || !strings.Contains(stdout, "-0.10%") {
		t.Errorf("from a variant: code %d, %s", code, stdout)
	}
}

func TestQuantizeFails(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lost := quantizeStarted + "event: error\n" + `data: {"type":"x","title":"Service Unavailable","status":503,"detail":"worker w1 was lost","code":"UNAVAILABLE"}` + "\n\n"
	refused := answer(http.StatusConflict, `{"title":"Conflict","status":409,"detail":"m@v3 has it already","code":"ALREADY_EXISTS"}`)
	for name, tt := range map[string]struct {
		gateway http.Handler
		stream  string
		args    []string
		code    int
		stderr  string
	}{
		"no type":            {args: []string{"m"}, code: 2, stderr: "--to is needed"},
		"no model":           {args: []string{"--to", "q8_0"}, code: 2, stderr: "needs MODEL"},
		"a small window":     {args: []string{"m", "--to", "q8_0", "--window", "63"}, code: 2, stderr: "from 64 to 32768"},
		"a wide window":      {args: []string{"m", "--to", "q8_0", "--window", "32769"}, code: 2, stderr: "from 64 to 32768"},
		"threads":            {args: []string{"m", "--to", "q8_0", "--threads", "-1"}, code: 2, stderr: "from 0 to 1024"},
		"base":               {args: []string{"m", "--to", "q8_0", "--name", "base"}, code: 2, stderr: "own weights"},
		"no such text":       {args: []string{"m", "--to", "q8_0", "--text", filepath.Join(dir, "none")}, code: 1, stderr: "no such file"},
		"an empty text":      {args: []string{"m", "--to", "q8_0", "--text", file("empty", "")}, code: 2, stderr: "is empty"},
		"a long text":        {args: []string{"m", "--to", "q8_0", "--text", file("long", strings.Repeat("x", 8<<20+1))}, code: 2, stderr: "larger than 8 MiB"},
		"no text":            {args: []string{"m", "--to", "q8_0", "--text", file("binary", "\xff")}, code: 2, stderr: "not UTF-8"},
		"refused":            {gateway: refused, args: []string{"m", "--to", "q8_0"}, code: 1, stderr: "m@v3 has it already (ALREADY_EXISTS, HTTP 409"},
		"lost in between":    {stream: lost, args: []string{"m", "--to", "q8_0"}, code: 1, stderr: "worker w1 was lost (UNAVAILABLE, HTTP 503, request req-1)"},
		"a stream that ends": {stream: quantizeStarted, args: []string{"m", "--to", "q8_0"}, code: 1, stderr: "ended before its end"},
		"no variant":         {stream: quantizeStarted + quantizeDone, args: []string{"m", "--to", "q8_0"}, code: 1, stderr: "told of no variant"},
	} {
		t.Run(name, func(t *testing.T) {
			gateway := tt.gateway
			if gateway == nil {
				gateway, _ = quantizer(t, tt.stream)
			}
			code, stdout, stderr := run(t, gateway, "", append([]string{"models", "quantize"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) || stdout != "" {
				t.Errorf("code %d, stderr %q, stdout %q", code, stderr, stdout)
			}
		})
	}
}

// TestQuantizeIsInterrupted holds that leaving ends the request, and that it is
// said.
func TestQuantizeIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, quantizeStarted)
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
		close(ended)
	}))
	defer server.Close()
	var out, errs bytes.Buffer
	env := map[string]string{"POTERNE_API_KEY": "k", "POTERNE_URL": server.URL, "HOME": t.TempDir()}
	code := Main(ctx, "test", []string{"models", "quantize", "m", "--to", "q8_0"}, Streams{Out: &out, Err: &errs}, func(k string) string { return env[k] })
	if code != 1 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("code %d: %s", code, errs.String())
	}
	<-ended
}

func TestProgressOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := &progress{out: &out, terminal: true}
	p.line("m@v3 on worker w1")
	p.phase(map[string]any{"phase": "QUANTIZE_PHASE_QUANTIZING", "percent": json.Number("7")})
	p.phase(map[string]any{"phase": "QUANTIZE_PHASE_STORING", "percent": json.Number("-1")})
	p.end()
	p.end()
	if want := "m@v3 on worker w1\n\r\x1b[Kmaking the weights 7 %\r\x1b[Kstoring the result\r\x1b[K"; out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
}

func TestModelsGet(t *testing.T) {
	gateway := answer(200, `{"id":"m","state":"loading","aliases":{"staging":2,"production":1},"placement_problem":"w1: 9 GiB are needed","variants":[`+
		`{"name":"base","digest":"sha256:aa","size_bytes":9663676416,"allowed":true,"ready_workers":0,"placement_problem":"w1: it does not fit"},`+
		`{"name":"q4_k_m","size_bytes":536870912,"loss":0.021,"allowed":true,"ready_workers":2,"placement_problem":""}]}`)
	code, stdout, stderr := run(t, gateway, "", "models", "get", "m@v3")
	for _, want := range []string{"PROBLEM", "w1: 9 GiB are needed", "9.00 GiB", "512.0 MiB", "2.10%", "it does not fit", "DIGEST", "sha256:aa", "production=1, staging=2"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("code %d, %s: no %q in %s", code, stderr, want, stdout)
		}
	}
	plain := answer(200, `{"id":"m","state":"ready"}`)
	if code, stdout, _ := run(t, plain, "", "models", "get", "m"); code != 0 || strings.Contains(stdout, "VARIANT") || strings.Count(stdout, "\n") != 2 {
		t.Errorf("without variants: code %d, %s", code, stdout)
	}
	if code, stdout, _ := run(t, gateway, "", "models", "get", "m@v3", "-o", "yaml"); code != 0 || !strings.Contains(stdout, "loss: 0.021") {
		t.Errorf("code %d, %s", code, stdout)
	}
}
