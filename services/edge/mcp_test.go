package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/mcpserver"
)

const mcpPath = "/mcp"

func speaking(t *testing.T, change func(*edge.Config)) *gate {
	t.Helper()
	return open(t, func(c *edge.Config) {
		c.MCP.Enabled = true
		if change != nil {
			change(c)
		}
	}, edge.WithMCP(mcpserver.Open))
}

// withKey sends a key with every request.
type withKey struct{ key string }

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return http.DefaultTransport.RoundTrip(r)
}

// session is one of the official client.
func (g *gate) session(key string, opts *mcp.ClientOptions) *mcp.ClientSession {
	g.t.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, opts)
	s, err := c.Connect(g.t.Context(), &mcp.StreamableClientTransport{
		Endpoint: g.url + mcpPath, HTTPClient: &http.Client{Transport: withKey{key}}, DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (g *gate) tool(s *mcp.ClientSession, name string, arguments map[string]any) (*mcp.CallToolResult, string) {
	g.t.Helper()
	r, err := s.CallTool(g.t.Context(), &mcp.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		g.t.Fatalf("%s: %v", name, err)
	}
	text, ok := r.Content[0].(*mcp.TextContent)
	if !ok {
		g.t.Fatalf("%s answered %v", name, r.Content)
	}
	return r, text.Text
}

func TestToolsOverMCP(t *testing.T) {
	g := speaking(t, nil)
	g.search.hits = []*searchv1.Hit{{DocumentId: "d1", ChunkId: "d1#0", Title: "Gates", Score: 1.5, Text: "A postern is a small gate."}}
	s := g.session(g.key, nil)
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	if got := strings.Join(names, " "); got != "chat list_collections list_models search" {
		t.Errorf("the tools are %s", got)
	}
	found, text := g.tool(s, "search", map[string]any{"collection": "c", "query": "gate"})
	if found.IsError || at(found.StructuredContent, "passages", 0, "chunk_id") != "d1#0" || at(found.StructuredContent, "passages", 0, "score") != 1.5 ||
		!strings.Contains(text, "postern") {
		t.Errorf("found %v: %s", found.StructuredContent, text)
	}
	if asked := g.search.asked[0]; asked.GetTopK() != 5 || asked.GetCollection() != "c" || g.search.caller.Tenant == "" {
		t.Errorf("asked %v as %v", asked, g.search.caller)
	}
	said, text := g.tool(s, "chat", map[string]any{"model": "small", "prompt": "Hi", "system": "Be brief.", "collection": "c", "max_tokens": 9})
	if said.IsError || text != "Hello" || at(said.StructuredContent, "citations", 0, "document_id") != "d1" || at(said.StructuredContent, "completion_tokens") != 2.0 {
		t.Errorf("said %v: %s", said.StructuredContent, text)
	}
	if body := g.inference.last(t); at(body, "messages", 0, "role") != "system" || body["max_tokens"] != 9.0 {
		t.Errorf("the engine got %v", body)
	}
	if models, text := g.tool(s, "list_models", nil); models.IsError || at(models.StructuredContent, "models", 0, "id") == nil {
		t.Errorf("models: %s", text)
	}
}

func TestProgressOverMCP(t *testing.T) {
	g := speaking(t, nil)
	told := make(chan string, 100)
	s := g.session(g.key, &mcp.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
		told <- r.Params.Message
	}})
	params := &mcp.CallToolParams{Name: "chat", Arguments: map[string]any{"model": "small", "prompt": "Hi"}}
	params.SetProgressToken("p1")
	r, err := s.CallTool(t.Context(), params)
	if err != nil || r.IsError {
		t.Fatalf("%v, %v", r, err)
	}
	text, ok := r.Content[0].(*mcp.TextContent)
	if !ok || text.Text == "" {
		t.Fatalf("answered %v", r.Content)
	}
	select {
	case first := <-told:
		if !strings.HasPrefix(text.Text, first) || first == "" {
			t.Errorf("told of %q, then said %q", first, text.Text)
		}
	case <-time.After(10 * time.Second):
		t.Error("no progress was told")
	}
}

func TestToolsRefuseWhatTheirCallsRefuse(t *testing.T) {
	g := speaking(t, nil)
	s := g.session(g.key, nil)
	for name, c := range map[string]struct {
		tool      string
		arguments map[string]any
		want      string
	}{
		"no query":         {"search", map[string]any{"collection": "c"}, "INVALID_ARGUMENT"},
		"another member":   {"search", map[string]any{"collection": "c", "query": "q", "principals": []string{"x"}}, `"principals" is not known here`},
		"too many":         {"search", map[string]any{"collection": "c", "query": "q", "top_k": 51}, "INVALID_ARGUMENT"},
		"another type":     {"search", map[string]any{"collection": "c", "query": 7}, "query must not be a number"},
		"a bad filter":     {"search", map[string]any{"collection": "c", "query": "q", "filter": "year >>"}, "INVALID_ARGUMENT"},
		"no model":         {"chat", map[string]any{"prompt": "Hi"}, "INVALID_ARGUMENT"},
		"negative tokens":  {"chat", map[string]any{"model": "small", "prompt": "Hi", "max_tokens": -1}, "INVALID_ARGUMENT"},
		"a page that none": {"list_models", map[string]any{"page": 3}, "INVALID_ARGUMENT"},
	} {
		if r, text := g.tool(s, c.tool, c.arguments); !r.IsError || !strings.Contains(text, c.want) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if _, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: "delete_everything"}); err == nil {
		t.Error("a tool that is not there was called")
	}
}

// TestToolsAreCalledAsTheCaller: rights, limits and the trail are those of the calls.
func TestToolsAreCalledAsTheCaller(t *testing.T) {
	g := speaking(t, nil)
	made := g.do("POST", "/v1/admin/api-keys", `{"name":"none","roles":["scanner"]}`)
	key, ok := made.at("key").(string)
	if !ok {
		t.Fatalf("status %d: %s", made.status, made.text)
	}
	other := *g
	other.key = key
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`
	for tool, arguments := range map[string]string{
		"chat": `{"model":"small","prompt":"Hi"}`, "search": `{"collection":"c","query":"q"}`, "list_collections": `{}`, "list_models": `{}`,
	} {
		if a := other.rpc(fmt.Sprintf(call, tool, arguments)); a.status != http.StatusOK || !strings.Contains(a.text, `"isError":true`) || !strings.Contains(a.text, "PERMISSION_DENIED") {
			t.Errorf("%s: status %d: %s", tool, a.status, a.text)
		}
	}
	for _, method := range []string{"tools/list", "ping"} {
		if a := other.rpc(`{"jsonrpc":"2.0","id":1,"method":"` + method + `"}`); !strings.Contains(a.text, `"error"`) || !strings.Contains(a.text, "PERMISSION_DENIED") {
			t.Errorf("%s: status %d: %s", method, a.status, a.text)
		}
	}
	g.rpc(fmt.Sprintf(call, "chat", `{"model":"small","prompt":"Hi"}`))
	g.rpc(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	records := g.do("GET", "/v1/admin/audit", "")
	for _, method := range []string{"OpenAIService/CreateChatCompletion", "McpService/ListMcpTools"} {
		if !strings.Contains(records.text, method) {
			t.Errorf("the trail does not know %s: %s", method, records.text)
		}
	}
}

// rpc sends one message as a client does.
func (g *gate) rpc(body string, pairs ...string) answer {
	return g.do("POST", mcpPath, body, append([]string{"Accept", "application/json, text/event-stream"}, pairs...)...)
}

const toolsList = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestMCPIsGuarded(t *testing.T) {
	g := speaking(t, func(c *edge.Config) {
		c.HTTP.CORS.Origins, c.MCP.MaxBodyBytes = []string{"https://app.example"}, 4*config.KiB
	})
	strange := g.do("POST", mcpPath, toolsList, "Authorization", "")
	if strange.status != http.StatusUnauthorized || !strings.Contains(strange.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without a key: status %d, %v", strange.status, strange.header)
	}
	deep := strings.Repeat("[", 2000)
	for name, c := range map[string]struct {
		body   string
		pairs  []string
		status int
	}{
		"as it should be":      {toolsList, nil, http.StatusOK},
		"a page let in":        {toolsList, []string{"Origin", "https://app.example"}, http.StatusOK},
		"a page":               {toolsList, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"a page of this name":  {toolsList, []string{"Origin", g.url}, http.StatusForbidden},
		"an origin of nobody":  {toolsList, []string{"Origin", "null"}, http.StatusForbidden},
		"several":              {"[" + toolsList + "," + toolsList + "]", nil, http.StatusBadRequest},
		"no JSON":              {"hello", nil, http.StatusBadRequest},
		"a text":               {`"hello"`, nil, http.StatusBadRequest},
		"too large":            {`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 5000) + `"}`, nil, http.StatusRequestEntityTooLarge},
		"deep, and broken":     {`{"jsonrpc":"2.0","id":1,"method":"ping","params":` + deep, nil, http.StatusBadRequest},
		"another type":         {toolsList, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		"a session of nowhere": {toolsList, []string{"Mcp-Session-Id", "abc"}, http.StatusOK},
		"a version of nowhere": {toolsList, []string{"Mcp-Protocol-Version", "1999-01-01"}, http.StatusBadRequest},
	} {
		if a := g.rpc(c.body, c.pairs...); a.status != c.status {
			t.Errorf("%s: status %d: %s", name, a.status, a.text)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if a := g.do(method, mcpPath, ""); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "POST") {
			t.Errorf("%s: status %d, allowed %s", method, a.status, a.header.Get("Allow"))
		}
	}
}

func TestMCPIsLimited(t *testing.T) {
	g := speaking(t, nil)
	made := g.do("POST", "/v1/admin/api-keys", `{"name":"slow","roles":["reader"],"requests_per_minute":2}`)
	key, ok := made.at("key").(string)
	if !ok {
		t.Fatalf("status %d: %s", made.status, made.text)
	}
	g.key = key
	limited := 0
	for range 4 {
		if a := g.rpc(toolsList); strings.Contains(a.text, "RATE_LIMITED") {
			limited++
		}
	}
	if limited != 2 {
		t.Errorf("of four requests %d were refused, want 2", limited)
	}
}

// TestACallEndsWhenItsClientLeaves: nobody could fetch the answer later.
func TestACallEndsWhenItsClientLeaves(t *testing.T) {
	g := speaking(t, nil)
	begun, left := make(chan struct{}), make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		close(begun)
		<-out.Context().Done()
		close(left)
		return out.Context().Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":1},"name":"chat","arguments":{"model":"small","prompt":"Hi"}}}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+mcpPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + g.key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"} {
		req.Header.Set(name, value)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-begun
	cancel()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the engine still works")
	}
	<-done
}

func TestMCPIsOffUnlessAsked(t *testing.T) {
	g := open(t, nil)
	if a := g.rpc(toolsList); a.status != http.StatusNotFound {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	cfg := edge.DefaultConfig()
	cfg.DataDir, cfg.MCP.Enabled = t.TempDir(), true
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	if _, err := edge.New(t.Context(), *cfg, edge.WithTelemetry(telemetry.Discard())); err == nil || !strings.Contains(err.Error(), "mcp.enabled") {
		t.Errorf("a program without the protocol: %v", err)
	}
}
