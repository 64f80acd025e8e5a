package edge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// uploaded sends a file and returns the answer.
func (g *gate) uploaded(name, content string, pairs ...string) answer {
	g.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile("file", name)
	if err != nil {
		g.t.Fatal(err)
	}
	_, _ = part.Write([]byte(content))
	if err := w.WriteField("purpose", "batch"); err != nil {
		g.t.Fatal(err)
	}
	_ = w.Close()
	return g.do("POST", "/v1/files", b.String(), append([]string{"Content-Type", w.FormDataContentType()}, pairs...)...)
}

// batchKey makes a key, and returns the header that shows it, and its id.
func (g *gate) batchKey(tenant, subject string, more string) (pairs []string, id string) {
	g.t.Helper()
	a := g.do("POST", "/v1/admin/api-keys", fmt.Sprintf(`{"name":"k","tenant":%q,"subject":%q,"roles":["reader"]%s}`, tenant, subject, more))
	if a.status != http.StatusOK {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
	return []string{"Authorization", "Bearer " + text(a.at("key"))}, text(a.at("api_key", "id"))
}

func chatLine(id, content string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":{"model":"small","messages":[{"role":"user","content":%q}]}}`+"\n", id, content)
}

// batched makes a batch of a file of lines.
func (g *gate) batched(lines string, pairs ...string) string {
	g.t.Helper()
	f := g.uploaded("in.jsonl", lines, pairs...)
	b := g.do("POST", "/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/chat/completions","completion_window":"24h"}`, text(f.at("id"))), pairs...)
	if f.status != http.StatusOK || b.status != http.StatusOK {
		g.t.Fatalf("%d %s\n%d %s", f.status, f.text, b.status, b.text)
	}
	return text(b.at("id"))
}

// ended waits for a batch's end.
func (g *gate) ended(id string, pairs ...string) answer {
	g.t.Helper()
	for end := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		a := g.do("GET", "/v1/batches/"+id, "", pairs...)
		if slices.Contains([]string{"completed", "failed", "cancelled", "expired"}, text(a.at("status"))) {
			return a
		}
		if time.Now().After(end) {
			g.t.Fatalf("it does not end: %d %s", a.status, a.text)
		}
	}
}

// results returns a batch's lines by their ids.
func (g *gate) results(b answer, pairs ...string) map[string]map[string]any {
	g.t.Helper()
	out := make(map[string]map[string]any)
	for _, member := range []string{"output_file_id", "error_file_id"} {
		id, ok := b.at(member).(string)
		if !ok {
			continue
		}
		a := g.do("GET", "/v1/files/"+id+"/content", "", pairs...)
		if a.status != http.StatusOK {
			g.t.Fatalf("%d %s", a.status, a.text)
		}
		for line := range strings.Lines(a.text) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				g.t.Fatalf("%s: %v", line, err)
			}
			out[text(v["custom_id"])] = v
		}
	}
	return out
}

// A batch's lines are asked as its maker: with their limits, detectors, policies and
// bill, and at batch priority.
func TestBatchOverREST(t *testing.T) {
	var tries atomic.Int32
	g := open(t, func(c *edge.Config) { c.Batches.Poll = 50 * time.Millisecond })
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		if req.GetPriority() != inferencev1.Priority_PRIORITY_BATCH {
			t.Errorf("the priority is %s", req.GetPriority())
		}
		if strings.Contains(string(req.GetBody()), "crowded") && tries.Add(1) == 1 {
			return nil, apierr.New(apierr.Overloaded, "no room").WithRetryAfter(time.Second)
		}
		return &inferencev1.InvokeResponse{ServedBy: g.inference.served(), Usage: usage(), Body: []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"}}]}`)}, nil
	}
	ada, _ := g.batchKey("acme", "ada", `,"models":["small"]`)
	eve, _ := g.batchKey("globex", "ada", "")
	lines := chatLine("a", "hello") + chatLine("b", "crowded") + strings.Replace(chatLine("c", "x"), `"small"`, `"large"`, 1) +
		strings.Replace(chatLine("d", "x"), `"messages"`, `"service_tier":"priority","messages"`, 1) + strings.Replace(chatLine("e", "x"), `"user"`, `"king"`, 1)
	id := g.batched(lines, ada...)
	b := g.ended(id, ada...)
	got := g.results(b, ada...)
	for want, v := range map[string]any{
		"completed": b.at("status"), "5": fmt.Sprint(b.at("request_counts", "total")), "3": fmt.Sprint(b.at("request_counts", "completed")),
		"2": fmt.Sprint(b.at("request_counts", "failed")), "Hello": at(got["a"], "response", "body", "choices", 0, "message", "content"),
		"200": fmt.Sprint(at(got["b"], "response", "status_code")), "403": fmt.Sprint(at(got["c"], "response", "status_code")),
		"permission_denied": at(got["c"], "response", "body", "error", "code"), "400": fmt.Sprint(at(got["e"], "response", "status_code")),
		"messages[0].role": at(got["e"], "response", "body", "error", "param"), id + "-1": at(got["a"], "response", "request_id"),
	} {
		if v != want {
			t.Errorf("%v, want %s: %s %v", v, want, b.text, got)
		}
	}
	if a := g.do("GET", "/v1/usage", "", ada...); a.at("total", "requests") != 3.0 {
		t.Errorf("billed: %s", a.text)
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/batches/" + id, ""},
		{"POST", "/v1/batches/" + id + "/cancel", "{}"},
		{"GET", "/v1/files/" + text(b.at("input_file_id")), ""},
		{"GET", "/v1/files/" + text(b.at("output_file_id")) + "/content", ""},
		{"DELETE", "/v1/files/" + text(b.at("output_file_id")), ""},
		{"POST", "/v1/batches", fmt.Sprintf(`{"input_file_id":%q,"endpoint":"/v1/embeddings","completion_window":"24h"}`, text(b.at("input_file_id")))},
	} {
		if a := g.do(c.method, c.path, c.body, eve...); a.status != http.StatusNotFound {
			t.Errorf("another tenant: %s %s: %d %s", c.method, c.path, a.status, a.text)
		}
	}
	if a := g.do("POST", "/v1/batches/"+id+"/cancel", "{}", ada...); a.status != http.StatusConflict {
		t.Errorf("an ended batch is cancelled: %d %s", a.status, a.text)
	}
	for end := time.Now().Add(20 * time.Second); ; <-time.After(10 * time.Millisecond) {
		a := g.do("GET", `/v1/admin/audit?filter=request_id%3D%22`+id+`-1%22`, "")
		if a.at("records", 0, "subject") == "ada" && a.at("records", 0, "tenant") == "acme" && strings.HasSuffix(text(a.at("records", 0, "method")), "CreateChatCompletion") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("no record of a line: %s", a.text)
		}
	}
}

// A key that is revoked ends its batches.
func TestARevokedKeyEndsItsBatch(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Batches.Poll, c.Batches.Lease = 50*time.Millisecond, time.Second })
	asked, answered := make(chan struct{}, 100), make(chan struct{})
	g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		asked <- struct{}{}
		<-answered
		return nil, apierr.New(apierr.Overloaded, "no room")
	}
	ada, keyID := g.batchKey("acme", "ada", "")
	bob, _ := g.batchKey("acme", "ada", "") // another key of the same person
	id := g.batched(chatLine("a", "x")+chatLine("b", "x"), ada...)
	<-asked
	if a := g.do("DELETE", "/v1/files/"+text(g.do("GET", "/v1/batches/"+id, "", bob...).at("input_file_id")), "", bob...); a.status != http.StatusBadRequest {
		t.Errorf("a file in use is deleted: %d %s", a.status, a.text)
	}
	if a := g.do("DELETE", "/v1/admin/api-keys/"+keyID, ""); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	close(answered)
	b := g.ended(id, bob...)
	got := g.results(b, bob...)
	if b.at("status") != "failed" || b.at("errors", "data", 0, "code") != "invalid_api_key" || len(got) != 2 || at(got["a"], "error", "code") != "batch_failed" {
		t.Errorf("%s %v", b.text, got)
	}
}

// What may not be sent is refused, and nothing is left of it.
func TestFilesRefused(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Files.MaxFileBytes, c.Files.MaxTenantBytes, c.Files.MaxTenantFiles = 100_000, 150_000, 3
		c.Batches.MaxUnfinishedPerTenant = 1
	})
	form := func(body string) answer {
		return g.do("POST", "/v1/files", body, "Content-Type", "multipart/form-data; boundary=b")
	}
	if a := g.uploaded("../../etc/passwd", "x"); a.status != http.StatusOK || a.at("filename") != "passwd" || a.at("bytes") != 1.0 || a.at("purpose") != "batch" {
		t.Errorf("%d %s", a.status, a.text)
	}
	for name, c := range map[string]struct {
		a      answer
		status int
		param  any
	}{
		"too large":     {g.uploaded("x", strings.Repeat("x", 100_001)), 413, "file"},
		"empty":         {g.uploaded("x", ""), 400, "file"},
		"JSON":          {g.do("POST", "/v1/files", `{}`), 415, nil},
		"no boundary":   {g.do("POST", "/v1/files", `x`, "Content-Type", "multipart/form-data"), 415, nil},
		"a cut form":    {form("--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc"), 400, nil},
		"no purpose":    {form("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=x\r\n\r\nabc\r\n--b--"), 400, "purpose"},
		"a short life":  {form("--b\r\nContent-Disposition: form-data; name=\"expires_after[seconds]\"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=x\r\n\r\nabc\r\n--b--"), 400, "expires_after.anchor"},
		"not there":     {g.do("GET", "/v1/files/file-none", ""), 404, "file_id"},
		"no such page":  {g.do("GET", "/v1/files?after=file-none", ""), 404, "after"},
		"a wrong order": {g.do("GET", "/v1/files?order=up", ""), 400, "order"},
		"a path trick":  {g.do("GET", "/v1/files/..%2f..%2fx/content", ""), 404, "file_id"},
		"no file":       {g.do("POST", "/v1/batches", `{"input_file_id":"file-none","endpoint":"/v1/embeddings","completion_window":"24h"}`), 404, "input_file_id"},
		"no endpoint":   {g.do("POST", "/v1/batches", `{"input_file_id":"file-none","endpoint":"/v1/admin/api-keys","completion_window":"24h"}`), 400, "endpoint"},
		"no window":     {g.do("POST", "/v1/batches", `{"input_file_id":"file-none","endpoint":"/v1/embeddings","completion_window":"1h"}`), 400, "completion_window"},
		"no batch":      {g.do("GET", "/v1/batches/batch_none", ""), 404, "batch_id"},
	} {
		if c.a.status != c.status || c.a.at("error", "param") != c.param {
			t.Errorf("%s: %d %s", name, c.a.status, c.a.text)
		}
	}
	if a := g.uploaded("b", strings.Repeat("x", 90_000)); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := g.uploaded("c", strings.Repeat("x", 90_000)); a.status != http.StatusTooManyRequests {
		t.Errorf("over the tenant's bytes: %d %s", a.status, a.text)
	}
	if a := g.uploaded("c", "x"); a.status != http.StatusOK {
		t.Errorf("what is left of the room: %d %s", a.status, a.text)
	}
	if a := g.uploaded("d", "x"); a.status != http.StatusTooManyRequests {
		t.Errorf("over the tenant's files: %d %s", a.status, a.text)
	}
	a := g.do("GET", "/v1/files?limit=2&order=asc", "")
	if a.at("data", 0, "filename") != "passwd" || a.at("data", 1, "filename") != "b" || a.at("has_more") != true {
		t.Errorf("%s", a.text)
	}
	if a := g.do("GET", "/v1/files?limit=2&order=asc&after="+text(a.at("last_id")), ""); a.at("data", 0, "filename") != "c" || a.at("has_more") == true {
		t.Errorf("%s", a.text)
	}
	if a := g.do("DELETE", "/v1/files/"+text(a.at("data", 0, "id")), ""); a.at("deleted") != true {
		t.Errorf("%s", a.text)
	}
}
