package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// unread is a body that must not be read.
type unread struct {
	t *testing.T
}

func (u *unread) Read([]byte) (int, error) {
	u.t.Helper()
	u.t.Error("the body was read")
	return 0, io.EOF
}

// direct gives a request to the handler, without a server that reads ahead.
func (g *gate) direct(path, key string, body io.Reader) *httptest.ResponseRecorder {
	g.t.Helper()
	r := httptest.NewRequestWithContext(g.t.Context(), http.MethodPost, path, body)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	w := httptest.NewRecorder()
	g.Handler().ServeHTTP(w, r)
	return w
}

// bodied are paths that take a body, and the method that each is bound to.
func bodied() map[string]string {
	return map[string]string{
		chatPath:           "/poterne.edge.v1.OpenAIService/CreateChatCompletion",
		"/v1/completions":  "/poterne.edge.v1.OpenAIService/CreateCompletion",
		"/v1/embeddings":   "/poterne.edge.v1.OpenAIService/CreateEmbedding",
		"/v1/rerank":       "/poterne.edge.v1.OpenAIService/Rerank",
		"/v1/tokens:count": "/poterne.edge.v1.OpenAIService/CountTokens",
		"/v1/collections/c/documents:batchUpsert": "/poterne.search.v1.SearchService/BatchUpsertDocuments",
		"/v1/collections/c:search":                "/poterne.search.v1.SearchService/Search",
		"/v1/admin/api-keys":                      "/poterne.edge.v1.AdminService/CreateApiKey",
	}
}

func TestStrangersBodiesAreNotRead(t *testing.T) {
	g := open(t, nil)
	for path := range bodied() {
		for _, key := range []string{"", "sk-nothing"} {
			w := g.direct(path, key, &unread{t: t})
			if w.Code != http.StatusUnauthorized || w.Header().Get("Www-Authenticate") == "" {
				t.Errorf("%s, key %q: %d %v", path, key, w.Code, w.Header())
			}
			shape := `"error":{`
			if strings.HasPrefix(path, "/v1/collections") || strings.HasPrefix(path, "/v1/admin") {
				shape = `"code":"UNAUTHENTICATED"`
			}
			if !strings.Contains(w.Body.String(), shape) {
				t.Errorf("%s: answered %s", path, w.Body)
			}
			recs := g.recordsOf(w.Header().Get("X-Request-Id"))
			if len(recs) != 1 || at(recs[0], "method") != bodied()[path] || at(recs[0], "decision") != "refused" ||
				at(recs[0], "error_reason") != "UNAUTHENTICATED" || at(recs[0], "address") != "192.0.2.1" {
				t.Errorf("%s: recorded as %v", path, recs)
			}
		}
	}
}

func TestBodiesOverTheAddressLimitAreNotRead(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Security.Limits.Address.RequestsPerMinute, c.Security.Limits.Address.FailureCost = 3, 0
	})
	for i := range 3 { // the call does not pay again for what the door took
		if w := g.direct(chatPath, g.key, strings.NewReader(hi)); w.Code != http.StatusOK {
			t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
		}
	}
	w := g.direct(chatPath, g.key, &unread{t: t})
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" ||
		!strings.Contains(w.Body.String(), "rate_limit_exceeded") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

// TestStrangersAreNotToldToContinue holds that a client which waits for leave to
// send its body does not get it without a key.
func TestStrangersAreNotToldToContinue(t *testing.T) {
	g := open(t, nil)
	u, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"": "HTTP/1.1 401 ", "Authorization: Bearer " + g.key + "\r\n": "HTTP/1.1 100 "} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "POST "+chatPath+" HTTP/1.1\r\nHost: "+u.Host+"\r\n"+key+
			"Content-Type: application/json\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("the first line is %q, %v; want %q", line, err, want)
		}
	}
}

// recordsOf returns the audit records of one request.
func (g *gate) recordsOf(requestID string) []any {
	g.t.Helper()
	recs, _ := g.do("GET", "/v1/admin/audit?request_id="+requestID, "").at("records").([]any)
	return recs
}

// TestEveryRequestHasOneRecord asks for what is refused before there is a call,
// and for what is not.
func TestEveryRequestHasOneRecord(t *testing.T) {
	g := open(t, nil)
	const chat, models = "/poterne.edge.v1.OpenAIService/CreateChatCompletion", "/poterne.edge.v1.OpenAIService/ListModels"
	for name, tt := range map[string]struct {
		method, path, body, contentType string
		rpc, decision, reason           string
	}{
		"malformed":          {"POST", chatPath, `{"model":`, "", chat, "refused", "INVALID_ARGUMENT"},
		"empty":              {"POST", chatPath, ``, "", chat, "refused", "INVALID_ARGUMENT"},
		"a wrong type":       {"POST", chatPath, `{"messages":7}`, "", chat, "refused", "INVALID_ARGUMENT"},
		"too large":          {"POST", chatPath, `{"x":"` + strings.Repeat("x", 65<<10) + `"}`, "", chat, "refused", "PAYLOAD_TOO_LARGE"},
		"no JSON":            {"POST", chatPath, hi, "text/plain", chat, "refused", "UNSUPPORTED_MEDIA_TYPE"},
		"a bad query":        {"GET", "/v1/models?page_size=many", "", "", models, "refused", "INVALID_ARGUMENT"},
		"an unknown member":  {"POST", "/v1/collections", `{"colour":1}`, "", "/poterne.search.v1.SearchService/CreateCollection", "refused", "INVALID_ARGUMENT"},
		"malformed, by rule": {"POST", "/v1/collections/c:search", `[`, "", "/poterne.search.v1.SearchService/Search", "refused", "INVALID_ARGUMENT"},
		"against the rules":  {"POST", chatPath, `{"model":"small"}`, "", chat, "refused", "INVALID_ARGUMENT"},
		"a chat":             {"POST", chatPath, hi, "", chat, "allowed", ""},
		"a stream":           {"POST", chatPath, hi[:len(hi)-1] + `,"stream":true}`, "", "/poterne.edge.v1.OpenAIService/StreamChatCompletion", "allowed", ""},
		"a list":             {"GET", "/v1/models", "", "", models, "allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Content-Type", "application/json"}
			if tt.contentType != "" {
				headers[1] = tt.contentType
			}
			a := g.do(tt.method, tt.path, tt.body, headers...)
			recs := g.recordsOf(a.header.Get("X-Request-Id"))
			if len(recs) != 1 {
				t.Fatalf("answered %d, with the records %v", a.status, recs)
			}
			reason, _ := at(recs[0], "error_reason").(string)
			if at(recs[0], "method") != tt.rpc || at(recs[0], "decision") != tt.decision || reason != tt.reason ||
				at(recs[0], "subject") != "admin" || at(recs[0], "tenant") != "default" || at(recs[0], "key_id") == "" ||
				at(recs[0], "address") != "127.0.0.1" {
				t.Errorf("answered %d, recorded as %v", a.status, recs[0])
			}
		})
	}
}

// TestUnreadableRequestsCount holds that a key pays for what cannot be read.
func TestUnreadableRequestsCount(t *testing.T) {
	g := open(t, nil)
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"ci","roles":["developer"],"requests_per_minute":2}`)
	key, _ := a.at("key").(string)
	mine := []string{"Authorization", "Bearer " + key}
	for range 2 {
		if a := g.do("POST", chatPath, `{"model":`, mine...); a.status != 400 || a.header.Get("Ratelimit") == "" {
			t.Fatalf("got %d %v %s", a.status, a.header, a.text)
		}
	}
	a = g.do("POST", chatPath, `{"model":`, mine...)
	if a.status != 429 || a.at("error", "code") != "rate_limit_exceeded" || a.header.Get("Retry-After") == "" {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	if recs := g.recordsOf(a.header.Get("X-Request-Id")); len(recs) != 1 || at(recs[0], "error_reason") != "RATE_LIMITED" {
		t.Errorf("recorded as %v", recs)
	}
	if a := g.do("POST", chatPath, `{"model":`); a.status != 400 {
		t.Errorf("another key pays for it: %d", a.status)
	}
}
