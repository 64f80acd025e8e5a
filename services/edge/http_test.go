package edge_test

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

const hi = `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`

func TestBadInput(t *testing.T) {
	g := open(t, nil)
	tests := map[string]struct {
		method, path, body string
		headers            []string
		status             int
		code, param        string // in OpenAI's shape
	}{
		"malformed JSON":           {"POST", chatPath, `{"model":`, nil, 400, "", "model"},
		"empty body":               {"POST", chatPath, ``, []string{"Content-Type", "application/json"}, 400, "", ""},
		"an array":                 {"POST", chatPath, `[]`, nil, 400, "", ""},
		"wrong type":               {"POST", chatPath, `{"model":"small","messages":"x"}`, nil, 400, "", "messages"},
		"wrong type deep inside":   {"POST", chatPath, `{"model":"small","messages":[{"role":"user","content":[{"type":7}]}]}`, nil, 400, "", "messages[0].content[0].type"},
		"no messages":              {"POST", chatPath, `{"model":"small"}`, nil, 400, "", "messages"},
		"no role":                  {"POST", chatPath, `{"model":"small","messages":[{"content":"x"}]}`, nil, 400, "", "messages[0].role"},
		"an unknown role":          {"POST", chatPath, `{"model":"small","messages":[{"role":"king","content":"x"}]}`, nil, 400, "", "messages[0].role"},
		"out of range":             {"POST", chatPath, `{"model":"small","messages":[{"role":"user","content":"x"}],"temperature":3}`, nil, 400, "", "temperature"},
		"bad stream, streamed":     {"POST", chatPath, `{"model":"","messages":[{"role":"user","content":"x"}],"stream":true}`, nil, 400, "", "model"},
		"no prompt":                {"POST", "/v1/completions", `{"model":"small"}`, nil, 400, "", "prompt"},
		"no input":                 {"POST", "/v1/embeddings", `{"model":"small"}`, nil, 400, "", "input"},
		"empty input":              {"POST", "/v1/embeddings", `{"model":"small","input":[]}`, nil, 400, "", "input"},
		"mixed input":              {"POST", "/v1/embeddings", `{"model":"small","input":["a",1]}`, nil, 400, "", "input[1]"},
		"null input":               {"POST", "/v1/embeddings", `{"model":"small","input":null}`, nil, 400, "", "input"},
		"too large":                {"POST", chatPath, `{"x":"` + strings.Repeat("x", 65<<10) + `"}`, nil, 413, "payload_too_large", ""},
		"not JSON":                 {"POST", chatPath, hi, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", ""},
		"another charset":          {"POST", chatPath, hi, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported_media_type", ""},
		"compressed":               {"POST", chatPath, hi, []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type", ""},
		"no key":                   {"POST", chatPath, hi, []string{"Authorization", ""}, 401, "invalid_api_key", ""},
		"no key, streamed":         {"POST", chatPath, hi[:len(hi)-1] + `,"stream":true}`, []string{"Authorization", ""}, 401, "invalid_api_key", ""},
		"a wrong key":              {"GET", "/v1/models", "", []string{"Authorization", "Bearer sk-nothing"}, 401, "invalid_api_key", ""},
		"a malformed header":       {"GET", "/v1/models", "", []string{"Authorization", "Basic eDp5"}, 401, "invalid_api_key", ""},
		"an unknown model":         {"GET", "/v1/models/none", "", nil, 404, "model_not_found", "model"},
		"a wrong method":           {"DELETE", chatPath, "", nil, 405, "method_not_allowed", ""},
		"a bad query":              {"GET", "/v1/models?page_size=many", "", nil, 400, "", "page_size"},
		"a query out of its range": {"GET", "/v1/models?page_size=5000", "", nil, 400, "", "page_size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := g.do(tt.method, tt.path, tt.body, tt.headers...)
			if a.status != tt.status {
				t.Fatalf("status %d, want %d: %s", a.status, tt.status, a.text)
			}
			if a.header.Get("Content-Type") != "application/json" || a.at("error", "message") == "" || a.at("error", "type") == nil {
				t.Errorf("not OpenAI's shape: %s", a.text)
			}
			if got, _ := a.at("error", "param").(string); got != tt.param {
				t.Errorf("param is %q, want %q: %s", got, tt.param, a.text)
			}
			if got, _ := a.at("error", "code").(string); got != tt.code {
				t.Errorf("code is %q, want %q: %s", got, tt.code, a.text)
			}
			if a.at("error", "request_id") != a.header.Get("X-Request-Id") {
				t.Errorf("the request id is not in the body: %s", a.text)
			}
			if (tt.status == 401) != (a.header.Get("Www-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", a.header.Get("Www-Authenticate"))
			}
		})
	}
	if n := g.inference.calls(); n != 0 {
		t.Errorf("the inference service was asked %d times", n)
	}
}

func TestProblems(t *testing.T) {
	g := open(t, nil)
	tests := map[string]struct {
		method, path, body string
		status             int
		code, field        string
	}{
		"an unknown path":    {"GET", "/v1/nothing", "", 404, "NOT_FOUND", ""},
		"below a known path": {"GET", "/v1/models/a/b", "", 404, "NOT_FOUND", ""}, // of OpenAI's
		"a wrong method":     {"PUT", "/v1/collections", "{}", 405, "METHOD_NOT_ALLOWED", ""},
		"an unknown member":  {"POST", "/v1/collections", `{"id":"a","colour":"red"}`, 400, "INVALID_ARGUMENT", "colour"},
		"an invalid id":      {"POST", "/v1/collections", `{"id":"A B"}`, 400, "INVALID_ARGUMENT", "id"},
		"a malformed body":   {"POST", "/v1/collections/a:search", `{"query":}`, 400, "INVALID_ARGUMENT", "query"},
		"not there yet":      {"POST", "/v1/collections", `{"id":"a"}`, 501, "UNIMPLEMENTED", ""}, // the fake
		"an unknown key":     {"GET", "/v1/admin/api-keys/none", "", 404, "NOT_FOUND", ""},
		"an unknown query":   {"GET", "/v1/admin/audit?page_sise=5", "", 400, "INVALID_ARGUMENT", "page_sise"},
		"a query to a body":  {"POST", "/v1/collections/a:search?top_k=5", `{"query":"x"}`, 400, "INVALID_ARGUMENT", "top_k"},
		"a strange query":    {"GET", "/v1/collections?%00=5", "", 400, "INVALID_ARGUMENT", "query"},
		"the registry watch": {"GET", "/v1/registry/watch", "", 404, "NOT_FOUND", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := g.do(tt.method, tt.path, tt.body)
			if name == "below a known path" {
				if a.status != tt.status || a.at("error", "code") != "not_found" {
					t.Errorf("got %d %s", a.status, a.text)
				}
				return
			}
			if a.status != tt.status || a.at("code") != tt.code || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("got %d %s %s", a.status, a.header.Get("Content-Type"), a.text)
			}
			if got, _ := a.at("errors", 0, "field").(string); got != tt.field {
				t.Errorf("field is %q, want %q: %s", got, tt.field, a.text)
			}
			if a.at("request_id") != a.header.Get("X-Request-Id") || a.at("status") != float64(tt.status) {
				t.Errorf("the problem is %s", a.text)
			}
		})
	}
	if a := g.do("PUT", "/v1/collections", "{}"); a.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("Allow is %q", a.header.Get("Allow"))
	}
}

func TestRESTReachesBackends(t *testing.T) {
	g := open(t, nil)
	a := g.do("GET", "/v1/collections/books/documents/a%2Fb%20%25@1:2", "")
	if a.status != 200 || a.at("text") != "books" || a.at("id") != "a/b %@1:2" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	a = g.do("POST", "/v1/collections/books:search", `{"query":"q","topK":3}`)
	if a.status != 200 || a.at("mode") != "hybrid" || a.at("hits") == nil || g.search.asked[0].GetTopK() != 3 {
		t.Errorf("got %d %s", a.status, a.text)
	}
	a = g.do("GET", "/v1/registry/models", "")
	if a.status != 200 || a.text != `{"models":[],"next_page_token":""}` {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a = g.do("HEAD", "/v1/registry/models", ""); a.status != 200 || a.text != "" {
		t.Errorf("HEAD: %d %q", a.status, a.text)
	}
	if a = g.do("OPTIONS", "/v1/registry/models", ""); a.status != 204 || a.header.Get("Allow") != "GET, HEAD, OPTIONS, POST" {
		t.Errorf("OPTIONS: %d %q", a.status, a.header.Get("Allow"))
	}
}

func TestKeysOverREST(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"ci","roles":["reader"],"groups":["eng"],"requests_per_minute":2}`)
	key, _ := a.at("key").(string)
	id, _ := a.at("api_key", "id").(string)
	if a.status != 200 || key == "" || id == "" {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/admin/api-keys/"+id, ""); a.at("name") != "ci" || strings.Contains(a.text, key) {
		t.Errorf("got %d %s", a.status, a.text)
	}
	reader := []string{"Authorization", "Bearer " + key}
	if a := g.do("GET", "/v1/admin/api-keys", "", reader...); a.status != 403 || a.at("code") != "PERMISSION_DENIED" {
		t.Errorf("a reader lists keys: %d %s", a.status, a.text)
	}
	limited := answer{}
	for range 4 {
		limited = g.do("GET", "/v1/models", "", reader...)
	}
	if limited.status != 429 || limited.header.Get("Retry-After") == "" || limited.at("error", "code") != "rate_limit_exceeded" ||
		limited.header.Get("X-Ratelimit-Remaining-Requests") != "0" || limited.header.Get("Ratelimit") == "" {
		t.Errorf("over the limit: %d %v %s", limited.status, limited.header, limited.text)
	}
	if a := g.do("DELETE", "/v1/admin/api-keys/"+id, ""); a.status != 200 || a.at("revoke_time") == nil {
		t.Errorf("revoke: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", reader...); a.status != 401 {
		t.Errorf("a revoked key: %d %s", a.status, a.text)
	}
	a = g.do("GET", "/v1/admin/audit?page_size=50", "")
	if a.status != 200 || !strings.Contains(a.text, `"error_reason":"RATE_LIMITED"`) || !strings.Contains(a.text, `"address":"127.0.0.1"`) ||
		strings.Contains(a.text, key) {
		t.Errorf("the audit trail: %d %s", a.status, a.text)
	}
}

func TestAuditOfChat(t *testing.T) {
	g := open(t, nil)
	id := "my-request.1"
	if a := g.do("POST", chatPath, hi, "X-Request-Id", id); a.header.Get("X-Request-Id") != id {
		t.Errorf("the request id became %q", a.header.Get("X-Request-Id"))
	}
	a := g.do("GET", "/v1/admin/audit?request_id="+id, "")
	rec := a.at("records", 0)
	if at(rec, "served_by") != "small@v3" || at(rec, "experiment") != "price" || at(rec, "arm") != "canary" || at(rec, "prompt_tokens") != 7.0 ||
		at(rec, "completion_tokens") != 2.0 || at(rec, "decision") != "allowed" || at(rec, "resource") != "model/small" {
		t.Errorf("the record is %s", a.text)
	}
	if a := g.do("GET", "/", "", "X-Request-Id", "not valid\t!"); a.header.Get("X-Request-Id") == "not valid\t!" {
		t.Error("an invalid request id was kept")
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if a := g.do("GET", "/", "", "Traceparent", parent); !strings.HasPrefix(a.header.Get("Traceparent"), parent[:36]) {
		t.Errorf("the trace became %q", a.header.Get("Traceparent"))
	}
}

func TestModels(t *testing.T) {
	g := open(t, nil)
	a := g.do("GET", "/v1/models", "")
	if a.at("object") != "list" || a.at("data", 0, "id") != "small" || a.at("data", 0, "object") != "model" ||
		a.at("data", 0, "state") != "ready" || a.at("data", 0, "version") != "small@v3" || a.at("data", 0, "aliases", "stable") != 3.0 {
		t.Errorf("got %s", a.text)
	}
	for _, ref := range []string{"small", "small@stable", "small@v3", "small@sha256:abc", "small%40v3"} {
		want := strings.ReplaceAll(ref, "%40", "@")
		if a := g.do("GET", "/v1/models/"+ref, ""); a.status != 200 || a.at("id") != want {
			t.Errorf("%s: %d %s", ref, a.status, a.text)
		}
	}
}

func TestEmbeddings(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/embeddings", `{"model":"emb","input":["a","b"],"input_type":"query","truncate":"END"}`)
	if a.status != 200 || a.at("object") != "list" || a.at("model") != "emb" || a.at("usage", "prompt_tokens") != 4.0 ||
		a.at("data", 1, "index") != 1.0 || a.at("data", 0, "embedding", 2) != 0.1 || a.at("data", 0, "object") != "embedding" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	asked := g.inference.embedded[0]
	if string(asked.GetExtra()) != `{"truncate":"END"}` || asked.GetInputType() != "query" || len(asked.GetInputs()) != 2 {
		t.Errorf("the inference service was asked %v", asked)
	}
	a = g.do("POST", "/v1/embeddings", `{"model":"emb","input":"a","encoding_format":"base64"}`)
	text, _ := a.at("data", 0, "embedding").(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 12 || math.Float32frombits(binary.LittleEndian.Uint32(raw[4:])) != -1 {
		t.Errorf("base64: %v, %s", err, a.text)
	}
	g.do("POST", "/v1/embeddings", `{"model":"emb","input":[1,2,3]}`)
	g.do("POST", "/v1/embeddings", `{"model":"emb","input":[[1,2],[3]]}`)
	if one, two := g.inference.embedded[2].GetInputs(), g.inference.embedded[3].GetInputs(); len(one) != 1 ||
		len(one[0].GetTokens().GetIds()) != 3 || len(two) != 2 || two[1].GetTokens().GetIds()[0] != 3 {
		t.Errorf("tokens became %v and %v", one, two)
	}
}

func TestCompletions(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/completions", `{"model":"small","prompt":"The capital of France is","max_tokens":1}`)
	if a.status != 200 || a.at("choices", 0, "text") != " Paris" || a.at("usage", "total_tokens") != 9.0 || a.at("model") != "small" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if body := g.inference.last(t); body["prompt"] != "The capital of France is" || body["max_tokens"] != 1.0 {
		t.Errorf("the engine got %v", body)
	}
	got := events(t, g.do("POST", "/v1/completions", `{"model":"small","prompt":["a"],"stream":true}`))
	if got[len(got)-1] != "[DONE]" || !strings.Contains(got[0], `"object":"text_completion"`) {
		t.Errorf("the stream is %q", got)
	}
}

func TestCORS(t *testing.T) {
	off := open(t, nil)
	if a := off.do("GET", "/", "", "Origin", "https://a.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("CORS is on by default")
	}
	g := open(t, func(c *edge.Config) { c.HTTP.CORS.Origins = []string{"https://a.example"} })
	a := g.do("OPTIONS", chatPath, "", "Origin", "https://a.example", "Authorization", "",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers",
		"authorization,content-type,x-poterne-priority,x-stainless-lang,x-stainless-timeout")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if a := g.do("GET", "/v1/models", "", "Origin", "https://a.example"); a.header.Get("Access-Control-Allow-Origin") != "https://a.example" ||
		!strings.Contains(strings.ToLower(a.header.Get("Access-Control-Expose-Headers")), "x-request-id") {
		t.Errorf("got %v", a.header)
	}
	if a := g.do("GET", "/v1/models", "", "Origin", "https://b.example"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %v", a.header)
	}
}

func TestPages(t *testing.T) {
	g := open(t, nil)
	none := []string{"Authorization", ""}
	if a := g.do("GET", "/", "", none...); a.status != 200 || a.at("docs") != "/docs" {
		t.Errorf("/: %d %s", a.status, a.text)
	}
	if a := g.do("GET", "/openapi.json", "", none...); a.status != 200 || a.at("openapi") != "3.1.0" {
		t.Errorf("/openapi.json: %d", a.status)
	}
	a := g.do("GET", "/docs", "", none...) // follows to /docs/
	if a.status != 200 || !strings.Contains(a.text, "/openapi.json") || strings.Contains(a.text, "//cdn") ||
		!strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Errorf("/docs: %d %.200s", a.status, a.text)
	}
	a = g.do("GET", "/docs/nope", "", none...)
	if a.status != http.StatusNotFound || a.header.Get("Content-Type") != "application/problem+json" || a.at("code") != "NOT_FOUND" ||
		a.at("request_id") != a.header.Get("X-Request-Id") {
		t.Errorf("/docs/nope: %d %v %s", a.status, a.header, a.text)
	}
	if a := g.do("POST", "/docs/x", "{}"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST /docs/x: %d", a.status)
	}
}
