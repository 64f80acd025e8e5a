package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// An answer that begins elsewhere goes on as it would have here, and a stream
// tells its counts in every chunk when asked.
func TestContinuation(t *testing.T) {
	r := newRig(t, nil)
	whole := r.chat("").Choices[0].Message.Content
	words := strings.Fields(whole)
	for _, n := range []int{1, 7, len(words) - 1, len(words)} {
		begun := strings.Join(words[:n], " ")
		status, body := r.post("/v1/chat/completions", `{"continue_final_message":true,"add_generation_prompt":false,"messages":[`+
			`{"role":"user","content":"hello there"},{"role":"assistant","content":"`+begun+`"}]}`)
		var a chatAnswer
		if err := json.Unmarshal([]byte(body), &a); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		if got := begun + a.Choices[0].Message.Content; got != whole || a.Usage.Answer != len(words)-n || a.Choices[0].Finish != "stop" {
			t.Errorf("from %q: %q, usage %+v, %s", begun, got, a.Usage, a.Choices[0].Finish)
		}
	}
	if status, body := r.post("/v1/chat/completions", `{"continue_final_message":true,"messages":[{"role":"assistant","content":"x"}]}`); status != http.StatusBadRequest {
		t.Errorf("both flags: %d %s", status, body)
	}
	text := func(prompt string) string {
		_, body := r.post("/v1/completions", `{"prompt":"`+prompt+`"}`)
		var a struct{ Choices []struct{ Text string } }
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatal(err)
		}
		return a.Choices[0].Text
	}
	whole = text("hello: ")
	words = strings.Fields(whole)
	begun := strings.Join(words[:9], " ")
	if got := begun + text("hello: "+begun); got != whole {
		t.Errorf("a completion goes on to %q, want %q", got, whole)
	}
	if got := text("hello: [sim] nothing of mine"); !strings.HasPrefix(got, "[sim] ") {
		t.Errorf("what it did not say is gone on with: %q", got)
	}
}

func TestRunningUsage(t *testing.T) {
	r := newRig(t, nil)
	_, chunks := r.stream(`,"max_tokens":3,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`)
	for i, c := range chunks {
		if want := fmt.Sprintf(`"completion_tokens":%d`, min(i, 3)); !strings.Contains(c, want) || !strings.Contains(c, `"prompt_tokens":7`) {
			t.Errorf("chunk %d lacks %s: %s", i, want, c)
		}
	}
	if _, chunks := r.stream(`,"max_tokens":3,"stream_options":{"continuous_usage_stats":true}`); strings.Contains(strings.Join(chunks, ""), "usage") {
		t.Errorf("without include_usage: %q", chunks)
	}
	var list []Request
	if err := json.Unmarshal([]byte(r.get("/sim/requests")), &list); err != nil || len(list) != 2 || list[0].GeneratedTokens != 3 || list[0].Outcome != outcomeAnswered {
		t.Errorf("requests %+v, %v", list, err)
	}
}
