package cli

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const explained = `{"id":"r-1","record_id":"a","state":"refused","time":"2026-05-01T12:00:00Z","duration_ms":3.25,"tenant":"acme","subject":"ada","key_id":"k1",
	"method":"/poterne.edge.v1.OpenAIService/StreamChatCompletion","resource":"model/small","error_reason":"QUOTA_EXCEEDED","policy":"base@1","rule":"r7",
	"cost_micros":"120","currency":"USD","prompt_tokens":7,"completion_tokens":2,"time_to_first_token_ms":1.5,"findings":["budget/refused"],
	"decisions":[{"step":"identity","outcome":"accepted","attributes":[{"name":"by","value":"api-key"}],"start_ms":0.02,"duration_ms":0.1},
	{"step":"budget","outcome":"refused","detail":"the budget \u001b[31mlab\u001b[0m is used up","start_ms":1.5},{"step":"answer","outcome":"refused","start_ms":3.25}],"omitted_decisions":4}`

func TestExplain(t *testing.T) {
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.EscapedPath() != "/v1/requests/r%2F1" {
			t.Errorf("%s %s", r.Method, r.URL.EscapedPath())
		}
		fmt.Fprint(w, explained)
	})
	code, out, stderr := run(t, gateway, "", "explain", "r/1")
	for _, want := range []string{
		"refused", "QUOTA_EXCEEDED", "after 3.25 ms", "tenant acme", "subject ada", "rule r7", "0.00012", "7 prompt, 2 completion", "after 1.50 ms",
		"0.10 ms  identity  accepted  by=api-key", "the budget ?[31mlab?[0m is used up", "and 4 decisions more",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if code != 0 || stderr != "" || strings.ContainsRune(out, 0x1b) || t.Failed() {
		t.Fatalf("%d\n%s\n%s", code, out, stderr)
	}
	if code, out, _ := run(t, gateway, "", "explain", "r/1", "--json"); code != 0 || !strings.HasPrefix(strings.TrimSpace(out), "{") || !strings.Contains(out, `"omitted_decisions": 4`) {
		t.Errorf("%d %s", code, out)
	}
	if code, _, _ := run(t, gateway, "", "explain"); code != 2 {
		t.Errorf("without an id: %d", code)
	}
}

func TestExplainWithoutDecisions(t *testing.T) {
	code, out, _ := run(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":"r","state":"in_hand"}`) }), "", "explain", "r")
	if code != 0 || !strings.Contains(out, "in hand") || !strings.Contains(out, "not kept") {
		t.Errorf("%d %s", code, out)
	}
}
