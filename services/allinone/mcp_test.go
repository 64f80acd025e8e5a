package allinone

import (
	"net/http"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// withKey sends a key with every request.
type withKey struct{ key string }

func (k withKey) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return http.DefaultTransport.RoundTrip(r)
}

// The official client finds and asks, through everything that is in the process.
func TestItSpeaksMCP(t *testing.T) {
	r := start(t, t.TempDir())
	r.want("POST", "/v1/collections", `{"id":"notes"}`)
	r.want("POST", "/v1/collections/notes/documents:batchUpsert", `{"documents":[{"id":"d1","text":"The gate is guarded at night."}],"refresh":"wait"}`)
	connect := func(key string) (*mcp.ClientSession, error) {
		c := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		return c.Connect(t.Context(), &mcp.StreamableClientTransport{
			Endpoint: "http://" + r.cfg.HTTPAddr + "/mcp", HTTPClient: &http.Client{Transport: withKey{key}}, DisableStandaloneSSE: true,
		}, nil)
	}
	s, err := connect(r.key)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for tool, arguments := range map[string]map[string]any{
		"search": {"collection": "notes", "query": "guarded gate"},
		"chat":   {"model": "sim-chat", "prompt": "Who guards it?", "collection": "notes", "max_tokens": 4},
	} {
		answer, err := s.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: arguments})
		if err != nil || answer.IsError {
			t.Fatalf("%s: %+v, %v", tool, answer, err)
		}
		if text, ok := answer.Content[0].(*mcp.TextContent); !ok || text.Text == "" || tool == "search" && !strings.Contains(text.Text, "guarded") {
			t.Errorf("%s: %+v", tool, answer.Content)
		}
	}
	if _, err := connect("ptn_wrong"); err == nil {
		t.Error("a wrong key is let in")
	}
	r.want("GET", "/v1/admin/audit", "", "poterne.search.v1.SearchService/Search", "ListMcpTools")
}

func TestMCPCanBeLeftOut(t *testing.T) {
	p := &platform{cfg: DefaultConfig(), dir: &dataDir{path: t.TempDir()}}
	for _, want := range []bool{true, false} {
		p.cfg.MCP = want
		if e, err := p.edgeConfig(); err != nil || e.MCP.Enabled != want {
			t.Errorf("with %v: %v, %v", want, e.MCP, err)
		}
	}
}
