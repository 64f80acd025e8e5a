package sim

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFaults(t *testing.T) {
	r := newRig(t, nil)
	set := func(f string) {
		if status, body := r.post("/sim/faults", f); status != http.StatusOK {
			t.Fatalf("%s: %s", f, body)
		}
	}
	const ask = `{"messages":[{"role":"user","content":"x"}]}`
	set(`{"error_rate":1,"error_status":502}`)
	if status, _ := r.post("/v1/chat/completions", ask); status != 502 {
		t.Errorf("an error for every request: %d", status)
	}
	set(`{"error_rate":0.5}`)
	failed := 0
	for range 200 {
		if status, _ := r.post("/v1/chat/completions", ask); status == 500 {
			failed++
		}
	}
	if failed < 70 || failed > 130 {
		t.Errorf("half of 200 is not %d", failed)
	}
	set(`{"disconnect_after":3}`)
	resp := r.do(http.MethodPost, "/v1/chat/completions", `{"stream":true,"messages":[{"role":"user","content":"x"}]}`)
	data, err := io.ReadAll(resp.Body)
	if err == nil || strings.Count(string(data), "data: ") != 3 {
		t.Errorf("a cut stream: %v, %s", err, data)
	}
	set(`{"crash_after":2}`)
	if status, _ := r.post("/v1/chat/completions", ask); status != 200 {
		t.Errorf("before the crash: %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Error("it answers after the crash")
	}
	if code := <-r.exit; code != crashCode {
		t.Errorf("exit code %d", code)
	}
	set(`{}`)
	if got := r.get("/sim/faults"); got != "{}" {
		t.Errorf("faults in force: %s", got)
	}
}

func TestAbandonedRequestsAreCounted(t *testing.T) {
	r := newRig(t, nil)
	for _, more := range []string{`"sim":{"hang":true}`, `"stream":true,"sim":{"hang":true}`} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/chat/completions",
			strings.NewReader(`{"messages":[{"role":"user","content":"x"}],`+more+`}`))
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("it does not hang")
		}
		cancel()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var s State
		if err := json.Unmarshal([]byte(r.get("/sim/state")), &s); err != nil {
			t.Fatal(err)
		}
		if s.Aborted == 2 {
			return
		}
	}
}
