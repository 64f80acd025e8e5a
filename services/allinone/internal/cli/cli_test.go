package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run executes one command line against a gateway.
func run(t *testing.T, gateway http.Handler, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	server := httptest.NewServer(gateway)
	t.Cleanup(server.Close)
	env := map[string]string{
		"POTERNE_URL": server.URL, "POTERNE_API_KEY": "pk_test",
		"POTERNE_CONTEXTS": filepath.Join(t.TempDir(), "contexts.yaml"),
	}
	return runEnv(t, env, stdin, args...)
}

func runEnv(t *testing.T, env map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(t.Context(), "test", args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}, func(k string) string { return env[k] })
	return code, out.String(), errs.String()
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-request-id", "req-1")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestExitCodes(t *testing.T) {
	refused := answer(http.StatusForbidden, `{"title":"Forbidden","status":403,"detail":"keys are for admins","code":"PERMISSION_DENIED","request_id":"req-1"}`)
	openAI := answer(http.StatusNotFound, `{"error":{"message":"no model zeta","type":"invalid_request_error","param":"model","code":"model_not_found"}}`)
	tests := []struct {
		name    string
		gateway http.Handler
		args    []string
		code    int
		stderr  string
	}{
		{"done", answer(200, `{"api_keys":[]}`), []string{"keys", "list"}, 0, ""},
		{"refused", refused, []string{"keys", "list"}, 1, "keys are for admins (PERMISSION_DENIED, HTTP 403, request req-1)"},
		{"openai's shape", openAI, []string{"chat", "--no-stream", "--model", "zeta", "hi"}, 1, "no model zeta (model_not_found, HTTP 404"},
		{"unknown verb", nil, []string{"dance"}, 2, `unknown command "dance"`},
		{"unknown verb of a group", nil, []string{"keys", "dance"}, 2, `unknown command "dance"`},
		{"unknown flag", nil, []string{"keys", "list", "--nope"}, 2, "unknown flag: --nope"},
		{"missing argument", nil, []string{"keys", "revoke"}, 2, "needs ID"},
		{"no model", nil, []string{"chat", "hi"}, 2, "--model is needed"},
		{"bad output", answer(200, `{"api_keys":[]}`), []string{"keys", "list", "-o", "xml"}, 2, "table, json or yaml"},
		{"no such context", nil, []string{"keys", "list", "--context", "lab"}, 2, `no context "lab"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := run(t, tt.gateway, "", tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d; stderr: %s", code, tt.code, stderr)
			}
			if !strings.Contains(stderr, tt.stderr) {
				t.Errorf("stderr %q does not say %q", stderr, tt.stderr)
			}
		})
	}
}

func TestNoKeyIsWrongUsage(t *testing.T) {
	code, _, stderr := runEnv(t, map[string]string{"HOME": t.TempDir()}, "", "keys", "list")
	if code != 2 || !strings.Contains(stderr, "no API key") {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}

func TestListGathersPages(t *testing.T) {
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer pk_test" {
			t.Errorf("authorization %q", got)
		}
		switch r.URL.Query().Get("page_token") {
		case "":
			fmt.Fprint(w, `{"collections":[{"id":"a","document_count":3}],"next_page_token":"two"}`)
		case "two":
			fmt.Fprint(w, `{"collections":[{"id":"b\u001b[31m","document_count":9007199254740993}]}`)
		}
	})
	code, stdout, stderr := run(t, gateway, "", "collections", "list")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if !strings.Contains(stdout, "9007199254740993") {
		t.Errorf("a number lost digits: %s", stdout)
	}
	if strings.ContainsRune(stdout, 0x1b) {
		t.Errorf("a terminal escape got through: %q", stdout)
	}
	code, stdout, _ = run(t, gateway, "", "collections", "list", "-o", "json")
	var items []map[string]any
	if err := json.Unmarshal([]byte(stdout), &items); code != 0 || err != nil || len(items) != 2 {
		t.Errorf("json output: code %d, %v, %s", code, err, stdout)
	}
	code, stdout, _ = run(t, gateway, "", "collections", "list", "-o", "yaml")
	if code != 0 || !strings.Contains(stdout, "document_count: 9007199254740993") {
		t.Errorf("yaml output: code %d, %s", code, stdout)
	}
}

func TestUpsertKeepsEveryDocumentAndReportsFailures(t *testing.T) {
	var seen int
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/collections/notes/documents:batchUpsert" {
			t.Errorf("path %s", r.URL.Path)
		}
		var body struct{ Documents []map[string]any }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		seen += len(body.Documents)
		results := []map[string]any{}
		for _, d := range body.Documents {
			result := map[string]any{"id": d["id"], "status": "created"}
			if d["id"] == "d7" {
				result = map[string]any{"id": "d7", "status": "failed", "error": map[string]any{"message": "too long"}}
			}
			results = append(results, result)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	})
	var lines strings.Builder
	for i := range 250 {
		fmt.Fprintf(&lines, `{"id":"d%d","text":"x"}`+"\n", i)
	}
	code, stdout, stderr := run(t, gateway, lines.String(), "documents", "upsert", "notes", "-")
	if code != 1 || !strings.Contains(stderr, "1 of 250 documents failed") || !strings.Contains(stdout, "too long") {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
	if seen != 250 {
		t.Errorf("the gateway saw %d documents, want 250", seen)
	}
	code, _, stderr = run(t, gateway, "{\"id\":\"a\"}\n{broken", "documents", "upsert", "notes", "-")
	if code != 2 || !strings.Contains(stderr, "document 2") {
		t.Errorf("broken input: code %d, stderr %q", code, stderr)
	}
}

func TestBatchesStayUnderTheLimits(t *testing.T) {
	big := json.RawMessage(`"` + strings.Repeat("x", upsertBatchBytes/2) + `"`)
	small := json.RawMessage(`"y"`)
	documents := []json.RawMessage{big, big, big, small}
	for range 2 * upsertBatch {
		documents = append(documents, small)
	}
	total := 0
	for batch := range batches(documents, upsertBatch) {
		size := 0
		for _, d := range batch {
			size += len(d)
		}
		if len(batch) > upsertBatch || (len(batch) > 1 && size > upsertBatchBytes) {
			t.Errorf("a batch of %d documents and %d bytes", len(batch), size)
		}
		total += len(batch)
	}
	if total != len(documents) {
		t.Errorf("%d documents in batches, want %d", total, len(documents))
	}
}

func TestChatStreams(t *testing.T) {
	events := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, body)
		}
	}
	whole := `: keep-alive

data: {"choices":[{"delta":{"annotations":[{"type":"document_citation","number":1,"document_id":"d1","chunk_id":"d1#0"}]}}]}

data: {"choices":[{"delta":{"content":"A small "}}]}

data: {"choices":[{"delta":{"content":"gate."}}]}

data: [DONE]

`
	code, stdout, stderr := run(t, events(whole), "", "chat", "--model", "m", "what", "is", "it?")
	if code != 0 || stdout != "A small gate.\n  [1] d1 (d1#0)\n" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	cut := "data: {\"choices\":[{\"delta\":{\"content\":\"A sm\"}}]}\n\n"
	code, _, stderr = run(t, events(cut), "", "chat", "--model", "m", "hi")
	if code != 1 || !strings.Contains(stderr, "ended before its end") {
		t.Errorf("a cut stream: code %d, stderr %q", code, stderr)
	}
	failed := cut + "data: {\"error\":{\"message\":\"the worker is gone\",\"type\":\"server_error\",\"code\":\"unavailable\"}}\n\n"
	code, _, stderr = run(t, events(failed), "", "chat", "--model", "m", "hi")
	if code != 1 || !strings.Contains(stderr, "the worker is gone") {
		t.Errorf("a failed stream: code %d, stderr %q", code, stderr)
	}
}

func TestParseArms(t *testing.T) {
	arms, err := parseArms([]string{"control=1:99.9", "candidate=v2:0.1%"})
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(arms)
	if want := `[{"name":"control","version":1,"weight":999000},{"name":"candidate","version":2,"weight":1000}]`; string(got) != want {
		t.Errorf("arms %s, want %s", got, want)
	}
	for _, bad := range [][]string{{"a=1:50"}, {"a=1"}, {"a:1=100"}, {"a=0:100"}, {"a=1:101"}, {"a=1:-1", "b=1:101"}, {"a=x:100"}} {
		if _, err := parseArms(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestRegisterHashesArtifacts(t *testing.T) {
	weights := filepath.Join(t.TempDir(), "w.gguf")
	if err := os.WriteFile(weights, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	var spec map[string]any
	var alias string
	gateway := http.NewServeMux()
	gateway.HandleFunc("POST /v1/registry/models", answer(http.StatusConflict, `{"detail":"there is a model m","code":"ALREADY_EXISTS"}`))
	gateway.HandleFunc("POST /v1/registry/models/m/versions", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Spec map[string]any }
		_ = json.NewDecoder(r.Body).Decode(&body)
		spec = body.Spec
		fmt.Fprint(w, `{"model":"m","number":4,"digest":"sha256:ab"}`)
	})
	gateway.HandleFunc("PUT /v1/registry/models/m/aliases/production", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Version json.Number }
		_ = json.NewDecoder(r.Body).Decode(&body)
		alias = body.Version.String()
		fmt.Fprint(w, `{}`)
	})
	code, stdout, stderr := run(t, gateway, "", "models", "register", "m", "--artifact", weights, "--parameter", "threads=2", "--alias", "production")
	if code != 0 || !strings.Contains(stdout, "sha256:ab") {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if alias != "4" {
		t.Errorf("the alias names version %q, want 4", alias)
	}
	artifact := map[string]any{}
	if list, ok := spec["artifacts"].([]any); ok && len(list) == 1 {
		artifact, _ = list[0].(map[string]any)
	}
	// printf weights | sha256sum
	if want := "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"; artifact["sha256"] != want || artifact["role"] != "weights" || artifact["uri"] != "file://"+weights {
		t.Errorf("artifact %v", artifact)
	}
}

func TestRemoteArtifacts(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	r := registration{task: "chat", artifacts: []string{
		"projector=sha256:" + hash + ":123@s3://models/p.gguf", "sha256:" + hash + "@https://host/f?a=b",
	}}
	spec, err := r.spec()
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(spec["artifacts"])
	want := `[{"role":"projector","sha256":"` + hash + `","size_bytes":123,"uri":"s3://models/p.gguf"},` +
		`{"role":"weights","sha256":"` + hash + `","size_bytes":0,"uri":"https://host/f?a=b"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, bad := range []string{
		"https://host/f", "sha256:ab@https://host/f", "sha256:" + hash, "sha256:" + hash + ":x@https://host/f",
		"sha256:" + hash + ":-1@https://host/f", "sha256:" + strings.ToUpper(hash) + "@https://host/f", "weights=sha256:" + hash + "@host/f",
	} {
		r.artifacts = []string{bad}
		if spec, err := r.spec(); err == nil {
			t.Errorf("%q was taken: %v", bad, spec)
		}
	}
}

func TestFetched(t *testing.T) {
	for want, progress := range map[string]any{
		"":                         nil,
		"5 MiB":                    map[string]any{"done_bytes": "5242880"},
		"50% of 10 MiB, 2.5 MiB/s": map[string]any{"done_bytes": "5242880", "total_bytes": json.Number("10485760"), "bytes_per_second": "2621440"},
	} {
		if got := fetched(progress); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestContexts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"api_keys":[{"id":%q}]}`, r.Header.Get("Authorization"))
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte("pk_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"XDG_CONFIG_HOME": dir}
	if code, _, stderr := runEnv(t, env, "", "context", "set", "lab", "--url", server.URL, "--api-key-file", keyFile); code != 0 {
		t.Fatalf("context set: %s", stderr)
	}
	info, err := os.Stat(filepath.Join(dir, "poterne", "contexts.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("contexts file: %v, %v", info, err)
	}
	code, stdout, stderr := runEnv(t, env, "", "keys", "list")
	if code != 0 || !strings.Contains(stdout, "Bearer pk_file") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	if err := os.WriteFile(filepath.Join(dir, "poterne", "contexts.yaml"), []byte("currant: lab\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runEnv(t, env, "", "keys", "list"); code != 2 || !strings.Contains(stderr, "currant") {
		t.Errorf("an unknown member: code %d, stderr %q", code, stderr)
	}
}

func TestCancelledCallFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	env := map[string]string{"POTERNE_API_KEY": "k", "POTERNE_URL": "http://127.0.0.1:1", "HOME": t.TempDir()}
	if code := Main(ctx, "test", []string{"keys", "list"}, Streams{Out: &out, Err: &errs}, func(k string) string { return env[k] }); code != 1 {
		t.Errorf("code %d: %s", code, errs.String())
	}
}

func TestAuditTable(t *testing.T) {
	gateway := answer(200, `{"records":[{"request_id":"r","prompt_tokens":31,"completion_tokens":7}],"next_page_token":"more"}`)
	code, out, _ := run(t, gateway, "", "audit", "list", "--limit", "1")
	if code != 0 || !strings.Contains(out, "IN") || !strings.Contains(out, "31") || strings.Count(out, "\n") != 2 {
		t.Errorf("code %d: %s", code, out)
	}
	if code, _, stderr := run(t, nil, "", "audit", "list", "--limit", "0"); code != 2 || !strings.Contains(stderr, "1 or more") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestWorkersTable(t *testing.T) {
	gateway := answer(200, `{"workers":[{"connected":true,"state":{"worker_id":"a","models":[{"name":"m","state":"MODEL_STATE_READY"}]}},`+
		`{"connected":false,"state":{"worker_id":"b","models":[{"name":"m","state":"MODEL_STATE_READY"}]}}]}`)
	_, out, _ := run(t, gateway, "", "workers", "list")
	lines := strings.Split(out, "\n")
	if len(lines) < 3 || !strings.Contains(lines[1], " ready") || !strings.Contains(lines[2], " gone") || strings.Contains(out, "MODEL_STATE") {
		t.Errorf("got %s", out)
	}
}

func TestQuarantineIsLifted(t *testing.T) {
	var method, path string
	var body []byte
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path = r.Method, r.URL.EscapedPath()
		body, _ = io.ReadAll(r.Body)
		answer(200, `{"lifted":[{"model":"m","version":2,"digest":"sha256:ab","error":"no such file"}]}`)(w, r)
	})
	code, out, _ := run(t, gateway, "", "workers", "lift-quarantine", "gpu/1", "m@v2")
	if code != 0 || !strings.Contains(out, "no such file") || !strings.Contains(out, "VERSION") {
		t.Errorf("code %d: %s", code, out)
	}
	if method != http.MethodPost || path != "/v1/admin/workers/gpu%2F1:liftQuarantine" || string(body) != `{"model":"m@v2"}` {
		t.Errorf("got %s %s %s", method, path, body)
	}
	if code, _, _ := run(t, gateway, "", "workers", "lift-quarantine", "w"); code != 2 {
		t.Errorf("without a model: code %d", code)
	}
}

func TestFailedChatPrintsNothingToStdout(t *testing.T) {
	code, out, _ := run(t, answer(400, `{"error":{"message":"no","type":"invalid_request_error"}}`), "", "chat", "--model", "m", "hi")
	if code != 1 || out != "" {
		t.Errorf("code %d, stdout %q", code, out)
	}
}
