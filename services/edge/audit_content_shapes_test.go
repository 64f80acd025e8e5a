package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// TestContentOfEveryShape: an answer is kept in whichever shape it was asked for.
func TestContentOfEveryShape(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Audit.Content.Key = masterKey("m1", "a") })
	g.do("PUT", settingsPath, `{"enabled":true}`)
	kept := func(path, body string) answer {
		t.Helper()
		a := g.do("POST", path, body)
		got := g.do("GET", contentPath+"/"+text(g.recorded(a)["id"]), "")
		if a.status != http.StatusOK || got.at("state") != "kept" || !strings.Contains(text(got.at("request")), spoken) {
			t.Fatalf("%s: %d %s", path, a.status, got.text)
		}
		return got
	}
	const message, response = `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"` + spoken + `"}]`, `{"model":"small","input":"` + spoken + `"`
	for path, body := range map[string]string{"/v1/messages": message, "/v1/responses": response} {
		if got := kept(path, body+"}"); !strings.Contains(text(got.at("answer")), `"Hello"`) {
			t.Errorf("%s: %s", path, got.text)
		}
	}
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := sendServedBy(out); err != nil {
			return err
		}
		for _, delta := range []string{
			`{"role":"assistant","reasoning_content":"He"}`, `{"reasoning_content":" greets"}`, `{"content":"Good"}`, `{"content":" day"}`,
			`{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"look","arguments":"{\"a\""}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}`,
		} {
			if err := sendChunk(out, `{"choices":[{"index":0,"delta":`+delta+`}]}`); err != nil {
				return err
			}
		}
		if err := sendChunk(out, `{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`); err != nil {
			return err
		}
		return sendFinish(out)
	}
	for path, c := range map[string]struct{ body, id, end string }{
		"/v1/messages": {message, "msg-", "tool_use"}, "/v1/responses": {response, "resp-", "completed"},
	} {
		got := text(kept(path, c.body+`,"stream":true}`).at("answer"))
		for _, want := range []string{
			`{"id":"` + c.id, `"content":"Good day"`, `"reasoning_content":"He greets"`, `"id":"c1"`, `"name":"look"`, `"arguments":"{\"a\":1}"`,
			`"finish_reason":"` + c.end + `"`, `"completion_tokens":`, `"model":"small"`, `"role":"assistant"`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: there is no %s in %s", path, want, got)
			}
		}
	}
}
