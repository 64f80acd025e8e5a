package cli

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge"
)

// realEdge is an edge as it is shipped, behind which there is nothing.
type realEdge struct {
	t   *testing.T
	env map[string]string
}

func newRealEdge(t *testing.T) *realEdge {
	t.Helper()
	cfg := edge.DefaultConfig()
	cfg.DataDir = t.TempDir()
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	s, err := edge.New(t.Context(), *cfg, edge.WithTelemetry(telemetry.Discard()), edge.WithDiscovery(discovery.NewMemory()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	comps := s.Components()
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the edge ended with %v", err)
		}
	})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	key, err := os.ReadFile(filepath.Join(cfg.DataDir, edge.AdminKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	return &realEdge{t, map[string]string{
		"POTERNE_URL": server.URL, "POTERNE_API_KEY": strings.TrimSpace(string(key)), "POTERNE_CONTEXTS": filepath.Join(t.TempDir(), "contexts.yaml"),
	}}
}

func (c *realEdge) cli(stdin string, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	return runEnv(c.t, c.env, stdin, args...)
}

func (c *realEdge) mustCLI(stdin string, args ...string) string {
	c.t.Helper()
	code, out, errs := c.cli(stdin, args...)
	if code != 0 {
		c.t.Fatalf("poterne %v: %d %s", args, code, errs)
	}
	return out
}

// tried is what routes test says.
type tried struct {
	Route *struct {
		Name string `json:"name"`
	} `json:"route"`
	Models   []string `json:"models"`
	Verdicts []struct {
		Name    string `json:"name"`
		Matches bool   `json:"matches"`
		Misses  string `json:"misses"`
	} `json:"verdicts"`
}

// A route goes through the command line and the gateway as it was meant: made by flags,
// read, tested, written from what was read, and removed.
func TestRoutesByTheCommandLine(t *testing.T) {
	c := newRealEdge(t)
	set := []string{
		"routes", "set", "full", "--priority", "7", "--operations", "chat,completion", "--paths", "/v1/chat/*,/poterne.edge.v1.OpenAIService/*",
		"--models", "sim-*,big@v3", "--tenants", "default,acme", "--subjects", "ada,b*", "--keys", "k1,k2",
		"--header", "X-Team=blue*", "--header", "x-stage=canary", "--header", "x-trace",
		"--model", "sim-chat", "--timeout", "60s", "--attempt-timeout", "30s", "--first-token", "1500ms",
		"--retry", "3", "--retry-on", "unreached,engine-failed", "--backoff", "20ms", "--max-backoff", "2s",
		"--fallback", "small,hosted@prod", "--fallback-on", "timeout,context-length,model-not-found", "--sticky", "cookie=poterne", "--mirror", "candidate", "--mirror-percent", "2.5",
	}
	code, out, errs := c.cli("", set...)
	if code != 0 || !strings.Contains(out, "full") || errs != "" {
		t.Fatalf("%d\n%s\n%s", code, out, errs)
	}
	if code, _, errs := c.cli("", "routes", "set", "idle", "--operations", "embed", "--first-token", "1s", "--check"); code != 0 || !strings.Contains(errs, "warning: timeouts.first_token has no effect on embed") {
		t.Errorf("%d %s", code, errs)
	}
	read := c.mustCLI("", "routes", "get", "full", "-o", "json")
	var r map[string]any
	if err := json.Unmarshal([]byte(read), &r); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"priority": 7.0, "model": "sim-chat", "timeouts.request": "60s", "timeouts.attempt": "30s", "timeouts.first_token": "1.500s",
		"retry.attempts": 3.0, "retry.backoff": "0.020s", "retry.max_backoff": "2s", "sticky.by": "cookie", "sticky.name": "poterne",
		"mirror.model": "candidate", "mirror.percent": 2.5,
	} {
		var v any = r
		for name := range strings.SplitSeq(path, ".") {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if v != want {
			t.Errorf("%s is %v, %v was set", path, v, want)
		}
	}
	for _, want := range []string{
		`"ROUTE_OPERATION_COMPLETION"`, `"ROUTE_REASON_ENGINE_FAILED"`, `"ROUTE_REASON_CONTEXT_LENGTH"`, `"hosted@prod"`,
		`"big@v3"`, `"b*"`, `"k2"`, `"acme"`, `"x-team"`, `"blue"`, `"canary"`,
	} {
		if !strings.Contains(read, want) {
			t.Errorf("%s is not in %s", want, read)
		}
	}
	c.testEveryMatch(t)

	// What is read can be written, from a file or standard input.
	yaml := c.mustCLI("", "routes", "get", "full", "-o", "yaml")
	c.mustCLI(yaml, "routes", "set", "copy", "-f", "-")
	file := filepath.Join(t.TempDir(), "route.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mustCLI("", "routes", "set", "copy", "--file", file)
	copied := c.mustCLI("", "routes", "get", "copy", "-o", "yaml")
	for line := range strings.SplitSeq(yaml, "\n") {
		if name, _, _ := strings.Cut(line, ":"); name != "name" && name != "etag" && !strings.HasSuffix(name, "_time") && !strings.Contains(copied, line) {
			t.Errorf("%q was not copied:\n%s", line, copied)
		}
	}
	if list := c.mustCLI("", "routes", "list"); !strings.Contains(list, "copy") || !strings.Contains(list, "full") || !strings.Contains(list, "hosted@prod") {
		t.Errorf("%s", list)
	}

	// Changes only of what was seen, and checks that keep nothing.
	etag, _ := r["etag"].(string)
	if code, _, errs := c.cli("", "routes", "set", "full", "--retry", "2", "--etag", "1"+etag); code != 1 || !strings.Contains(errs, "etag") {
		t.Errorf("another etag: %d %s", code, errs)
	}
	c.mustCLI("", "routes", "set", "unkept", "--retry", "2", "--check")
	for _, args := range [][]string{
		{"routes", "get", "unkept"},
		{"routes", "delete", "full", "--etag", "1" + etag},
		{"routes", "set", "bad", "--retry", "9"},
		{"routes", "set", "bad", "--models", "m", "--fallback", "m"},
		{"routes", "set", "bad", "--header", "authorization"},
		{"routes", "set", "bad", "--operations", "embed", "--fallback", "m"},
	} {
		if code, _, errs := c.cli("", args...); code != 1 || errs == "" {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
	c.mustCLI("", "routes", "delete", "full", "--etag", etag)
	if out := c.mustCLI("", "routes", "delete", "copy"); !strings.Contains(out, "route copy is removed") {
		t.Errorf("says %q of what it removes", out)
	}
	for flag, says := range map[string]string{
		"--operations": "must be chat, completion, embed, rerank or search, got", "--retry-on": "must be unreached, unavailable, overloaded", "--fallback-on": "or model-not-found, got",
	} {
		if code, _, errs := c.cli("", "routes", "set", "bad", flag, "sandwich"); code != 2 || !strings.Contains(errs, flag+" must be ") || !strings.Contains(errs, says) {
			t.Errorf("%s: %d %s", flag, code, errs)
		}
	}
	if out := c.mustCLI("", "routes", "test", "--model", "sim-chat"); !strings.Contains(out, "no route is about the request") {
		t.Errorf("%s", out)
	}
	const nowhere = `no request for embed comes by "nonsense"`
	if code, _, errs := c.cli("", "routes", "set", "nowhere", "--operations", "embed", "--paths", "nonsense"); code != 0 || !strings.Contains(errs, nowhere) {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := c.cli("", "routes", "test", "--model", "sim-chat"); code != 0 || !strings.Contains(errs, "warning: route nowhere: match.paths: "+nowhere) {
		t.Errorf("%d %s", code, errs)
	}
	c.mustCLI("", "routes", "delete", "nowhere")
}

// testEveryMatch holds, of the route full, that a request that fulfils each member of
// the match is its own, and that one which lacks any is told which.
func (c *realEdge) testEveryMatch(t *testing.T) {
	t.Helper()
	all := map[string][]string{
		"operation": {"--operation", "completion"}, "path": {"--path", "/v1/chat/completions"}, "model": {"--model", "sim-large@v2"},
		"tenant": {"--tenant", "acme"}, "subject": {"--subject", "bob"}, "key": {"--key", "k2"},
		"team": {"--header", "X-Team=blue-7"}, "stage": {"--header", "x-stage=canary"}, "trace": {"--header", "x-trace=anything"},
	}
	try := func(without string, more ...string) tried {
		t.Helper()
		args := []string{"routes", "test", "-o", "json"}
		for name, flags := range all {
			if name != without {
				args = append(args, flags...)
			}
		}
		var out tried
		if err := json.Unmarshal([]byte(c.mustCLI("", append(args, more...)...)), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := try("")
	if out.Route == nil || out.Route.Name != "full" || strings.Join(out.Models, " ") != "sim-chat small hosted@prod" || !out.Verdicts[0].Matches {
		t.Fatalf("%+v", out)
	}
	// By gRPC a method stands for the path, and without one that of the operation.
	if out := try("path", "--method", "/poterne.edge.v1.OpenAIService/StreamChatCompletion"); out.Route == nil {
		t.Errorf("by its method: %+v", out)
	}
	if out := try("path"); out.Route == nil {
		t.Errorf("by its operation's method: %+v", out)
	}
	if out := try("model", "--model", "big@v3"); out.Route == nil {
		t.Errorf("by another pattern: %+v", out)
	}
	for _, m := range []struct {
		without, misses string
		instead         []string
	}{
		{"operation", "match.operations", []string{"--operation", "embed"}},
		{"operation", "match.operations", []string{"--operation", "search"}},
		{"operation", "match.operations", []string{"--operation", "rerank"}},
		{"path", "match.paths", []string{"--path", "/v1/completions", "--method", "/x.Y/Z"}},
		{"model", "match.models", nil},
		{"model", "match.models", []string{"--model", "big@v4"}},
		{"model", "match.models", []string{"--model", "big"}},
		{"tenant", "match.tenants", []string{"--tenant", "acme2"}},
		{"subject", "match.subjects", nil},
		{"subject", "match.subjects", []string{"--subject", "carl"}},
		{"key", "match.keys", nil},
		{"key", "match.keys", []string{"--key", "k22"}},
		{"team", "match.headers", nil},
		{"team", "match.headers", []string{"--header", "x-team=red"}},
		{"stage", "match.headers", []string{"--header", "x-stage=canary-2"}},
		{"trace", "match.headers", nil},
	} {
		out := try(m.without, m.instead...)
		if out.Route != nil || len(out.Verdicts) != 1 || out.Verdicts[0].Matches || out.Verdicts[0].Misses != m.misses {
			t.Errorf("without %s, with %v: %+v", m.without, m.instead, out)
		}
	}
	if table := c.mustCLI("", append([]string{"routes", "test"}, all["model"]...)...); !strings.Contains(table, "no route is about the request") || !strings.Contains(table, "match.") {
		t.Errorf("%s", table)
	}
}
