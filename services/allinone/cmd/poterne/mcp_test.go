package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/poterne/poterne/services/allinone"
)

// TestMain lets the test's binary be the program: desktop clients start it with `mcp`,
// and its worker with `sim`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "sim" || os.Args[1] == "mcp") {
		os.Exit(run())
	}
	m.Run()
}

// child is a `poterne mcp` that a client started.
type child struct {
	*mcp.ClientSession
	cmd    *exec.Cmd
	stderr *strings.Builder // to be read when it has ended
}

func command(t *testing.T, url, key string, args ...string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{"mcp"}, args...)...)
	cmd.Env = []string{"POTERNE_URL=" + url, "POTERNE_API_KEY=" + key, "POTERNE_CONTEXTS=" + filepath.Join(t.TempDir(), "none.yaml")}
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	return cmd, stderr
}

func begin(t *testing.T, url, key string, opts *mcp.ClientOptions, args ...string) (child, error) {
	t.Helper()
	cmd, stderr := command(t, url, key, args...)
	s, err := mcp.NewClient(&mcp.Implementation{Name: "desktop", Version: "1"}, opts).Connect(t.Context(), &mcp.CommandTransport{Command: cmd}, nil)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return child{s, cmd, stderr}, err
}

func (c child) tool(t *testing.T, params *mcp.CallToolParams) (answer *mcp.CallToolResult, text string) {
	t.Helper()
	answer, err := c.CallTool(t.Context(), params)
	if err != nil {
		t.Fatalf("%s: %v", params.Name, err)
	}
	said, ok := answer.Content[0].(*mcp.TextContent)
	if !ok {
		t.Fatalf("%s: %+v", params.Name, answer.Content)
	}
	return answer, said.Text
}

// platform is an all-in-one on the simulated engine; it returns its URL and a key.
func platform(t *testing.T) (url, key string) {
	t.Helper()
	cfg := allinone.DefaultConfig()
	cfg.DataDir, cfg.Engine, cfg.LogLevel = t.TempDir(), allinone.EngineSim, "error"
	cfg.HTTPAddr, cfg.GRPCAddr, cfg.OpsAddr = freeAddr(t), freeAddr(t), freeAddr(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- allinone.Run(ctx, cfg, "test", new(strings.Builder)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + cfg.OpsAddr + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("not ready within a minute")
		}
	}
	raw, err := os.ReadFile(filepath.Join(cfg.DataDir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + cfg.HTTPAddr, strings.TrimSpace(string(raw))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestADesktopClientUsesTheGateway(t *testing.T) {
	url, key := platform(t)
	for path, body := range map[string]string{"/v1/collections": `{"id":"notes"}`} {
		post(t, url+path, key, body)
	}
	post(t, url+"/v1/collections/notes/documents:batchUpsert", key, `{"documents":[{"id":"d1","text":"The gate is guarded at night."}],"refresh":"wait"}`)
	told := make(chan *mcp.ProgressNotificationParams, 100)
	c, err := begin(t, url, key, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { told <- r.Params }})
	if err != nil {
		t.Fatalf("%v: %s", err, c.stderr)
	}
	if r := c.InitializeResult(); r.ServerInfo.Name != "poterne" || !strings.Contains(r.Instructions, "no instruction") {
		t.Errorf("it says of itself %+v", r)
	}
	list, err := c.ListTools(t.Context(), nil)
	if err != nil || len(list.Tools) != 4 || list.Tools[0].Name != "chat" || list.Tools[0].InputSchema == nil {
		t.Fatalf("tools %+v, %v", list, err)
	}
	if found, text := c.tool(t, &mcp.CallToolParams{Name: "search", Arguments: map[string]any{"collection": "notes", "query": "guarded gate"}}); found.IsError ||
		!strings.Contains(text, "guarded at night") || found.StructuredContent == nil {
		t.Errorf("found %s", text)
	}
	// An answer may be there before its progress was looked at, of which nothing is told then.
	for n := 0; ; n++ {
		ask := &mcp.CallToolParams{Name: "chat", Arguments: map[string]any{"model": "sim-chat", "prompt": "Hello", "max_tokens": 8}}
		ask.SetProgressToken("mine")
		if said, text := c.tool(t, ask); said.IsError || text == "" {
			t.Errorf("said %q", text)
		}
		select {
		case p := <-told:
			if p.ProgressToken != "mine" || p.Message == "" {
				t.Errorf("told %+v", p)
			}
		case <-time.After(time.Second):
			if n < 10 {
				continue
			}
			t.Error("no progress was told")
		}
		break
	}
	if refused, text := c.tool(t, &mcp.CallToolParams{Name: "search", Arguments: map[string]any{"collection": "none", "query": "x"}}); !refused.IsError || !strings.Contains(text, "NOT_FOUND") {
		t.Errorf("a collection that is not there: %s", text)
	}
	if err := c.Close(); err != nil {
		t.Errorf("its input ended: %v", err)
	}
	if c.cmd.ProcessState.ExitCode() != 0 || c.stderr.String() != "" {
		t.Errorf("it ended with %v: %s", c.cmd.ProcessState, c.stderr)
	}

	wrong, err := begin(t, url, "ptn_wrong", nil)
	if err == nil {
		t.Fatal("a wrong key is let in")
	}
	_ = wrong.cmd.Wait() // the client may have waited for it already
	if said := wrong.stderr.String(); !strings.Contains(said, "UNAUTHENTICATED") || strings.Contains(said, "ptn_wrong") {
		t.Errorf("of a wrong key it says %q", said)
	}
}

func post(t *testing.T, url, key, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: HTTP %d", url, resp.StatusCode)
	}
}

// endless is a server of the protocol whose one tool ends when its caller leaves.
type endless struct{ began, left chan struct{} }

func (e endless) handler() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "endless", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "wait", InputSchema: map[string]any{"type": "object"}}, func(ctx context.Context, _ *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		e.began <- struct{}{}
		<-ctx.Done()
		e.left <- struct{}{}
		return nil, ctx.Err()
	})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})
}

func within(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatal(what)
	}
}

// A call that is cancelled, or whose client goes, ends at the gateway.
func TestWhatIsGivenUpEndsAtTheGateway(t *testing.T) {
	e := endless{make(chan struct{}, 1), make(chan struct{}, 1)}
	gateway := httptest.NewServer(e.handler())
	defer gateway.Close()
	c, err := begin(t, gateway.URL, "ptn_x", nil)
	if err != nil {
		t.Fatalf("%v: %s", err, c.stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, _ = c.CallTool(ctx, &mcp.CallToolParams{Name: "wait"}) }()
	within(t, "the call did not arrive", e.began)
	cancel()
	within(t, "a cancelled call goes on", e.left)

	if err := c.Close(); err != nil {
		t.Error(err)
	}

	// The SDK's client waits for its calls before it closes; others do not.
	cmd, stderr := command(t, gateway.URL, "ptn_x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wait","arguments":{}}}`,
	} {
		if _, err := in.Write([]byte(message + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "the next call did not arrive", e.began)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "a call whose client has gone goes on", e.left)
	ended := make(chan struct{})
	go func() { err = cmd.Wait(); close(ended) }()
	within(t, "it does not end with its input", ended)
	if err != nil {
		t.Errorf("it ended with %v: %s", err, stderr)
	}
}

// A gateway that is away is told of by each call, until it is back.
func TestAGatewayThatIsAway(t *testing.T) {
	addr := freeAddr(t)
	c, err := begin(t, "http://"+addr, "ptn_x", nil, "--timeout", "20s")
	if err != nil {
		t.Fatalf("%v: %s", err, c.stderr)
	}
	if _, err := c.ListTools(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
		t.Errorf("tools of nobody: %v", err)
	}
	if answer, text := c.tool(t, &mcp.CallToolParams{Name: "chat"}); !answer.IsError || !strings.HasPrefix(text, "UNAVAILABLE: the gateway at http://"+addr) {
		t.Errorf("a call of nobody: %q", text)
	}
	var revoked atomic.Bool
	e := endless{make(chan struct{}, 1), make(chan struct{}, 1)}
	speaks := e.handler()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	gateway := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer ptn_x":
			t.Errorf("the key is %q", r.Header.Get("Authorization"))
		case revoked.Load():
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"title":"Unauthorized","status":401,"detail":"the key was revoked","code":"UNAUTHENTICATED"}`))
		default:
			speaks.ServeHTTP(w, r)
		}
	})}
	go func() { _ = gateway.Serve(l) }()
	defer gateway.Close()
	if list, err := c.ListTools(t.Context(), nil); err != nil || len(list.Tools) != 1 {
		t.Errorf("it is back: %+v, %v", list, err)
	}
	revoked.Store(true)
	if answer, text := c.tool(t, &mcp.CallToolParams{Name: "wait"}); !answer.IsError || !strings.HasPrefix(text, "UNAUTHENTICATED: ") || !strings.Contains(text, "revoked") {
		t.Errorf("with a key that was revoked: %q", text)
	}
	revoked.Store(false)
	if list, err := c.ListTools(t.Context(), nil); err != nil || len(list.Tools) != 1 {
		t.Errorf("the key holds again: %+v, %v", list, err)
	}
}
