package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func TestRolloutsCreate(t *testing.T) {
	const answer = `{"name":"june","model":"m","candidate":2,"baseline":1,"alias":"production","state":"ROLLOUT_STATE_PENDING",
		"guardrails":[{"metric":"error_rate"}],"steps":[{"weight":10000,"min_duration":"600s","min_requests":"1000"},{"weight":1000000}]}`
	var body map[string]any
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.URL.Path != "/v1/registry/models/m/rollouts" || json.Unmarshal(raw, &body) != nil {
			t.Errorf("%s %s %s", r.Method, r.URL.Path, raw)
		}
		_, _ = io.WriteString(w, answer)
	})
	flags := []string{
		"m", "june", "--candidate", "v2", "--step", "1%,min=10m,requests=1000,deadline=2h", "--step", "100,min=1h",
		"--guardrail", "error_rate,max_relative=0.05,alpha=0.01", "--label", "a=b",
		"--shadow", "10%,min=5m,rpm=60,requests=50,tpm=9000",
	}
	code, out, stderr := run(t, gateway, "", append([]string{"rollouts", "plan"}, flags...)...)
	if code != 0 || body["validate_only"] != true {
		t.Fatalf("code %d, %s, sent %v", code, stderr, body)
	}
	for _, want := range []string{"1 %", "99 %", "600s", "1000", "Version 2 takes over from version 1", "rolled back as soon as", "error_rate"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q does not say %q", out, want)
		}
	}
	delete(body, "validate_only")
	code, out, stderr = run(t, gateway, "", append([]string{"rollouts", "create"}, flags...)...)
	if code != 0 || !strings.Contains(out, "pending") || body["validate_only"] != nil {
		t.Errorf("code %d, %s, %s", code, out, stderr)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"candidate":2,"guardrails":[{"alpha":0.01,"max_relative":0.05,"metric":"error_rate"}],"labels":{"a":"b"},"rollout":"june",` +
		`"shadow":{"min_duration":"300s","min_requests":50,"requests_per_minute":60,"tokens_per_minute":9000,"weight":100000},` +
		`"steps":[{"deadline":"7200s","min_duration":"600s","min_requests":1000,"weight":10000},{"min_duration":"3600s","weight":1000000}]}`
	if string(raw) != want {
		t.Errorf("sent %s\nwant %s", raw, want)
	}
	for _, bad := range [][]string{
		{"--step", "1%"},
		{"--candidate", "v2"},
		{"--candidate", "two", "--step", "1%"},
		{"--candidate", "2", "--step", "101%"},
		{"--candidate", "2", "--step", "NaN"},
		{"--candidate", "2", "--step", "1%,min=long"},
		{"--candidate", "2", "--step", "1%,max=1h"},
		{"--candidate", "2", "--step", "1%,min"},
		{"--candidate", "2", "--step", "1%", "--shadow", "1%,rpm=some"},
		{"--candidate", "2", "--step", "1%", "--shadow", "rpm=5"},
		{"--candidate", "2", "--step", "1%", "--shadow", "1%,most=5"},
		{"--candidate", "2", "--step", "1%", "--guardrail", "cost,max=much"},
		{"--candidate", "2", "--step", "1%", "--guardrail", "cost,most=1"},
		{"--candidate", "2", "--step", "1%", "--label", "x"},
	} {
		if code, _, stderr := run(t, gateway, "", append([]string{"rollouts", "create", "m", "june"}, bad...)...); code != exitUsage {
			t.Errorf("%v: code %d, %s", bad, code, stderr)
		}
	}
}

func TestRolloutsMove(t *testing.T) {
	for _, tt := range []struct{ args, path, body string }{
		{"pause m june --reason why", "/v1/registry/models/m/rollouts/june:pause", `{"etag":"*","reason":"why"}`},
		{"resume m june", "/v1/registry/models/m/rollouts/june:resume", `{"etag":"*"}`},
		{"force m june --step 3 --etag r7", "/v1/registry/models/m/rollouts/june:force", `{"etag":"r7","step":3}`},
		{"abort m june", "/v1/registry/models/m/rollouts/june:abort", `{"etag":"*"}`},
	} {
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			if r.Method != http.MethodPost || r.URL.Path != tt.path || string(raw) != tt.body {
				t.Errorf("%s: %s %s %s", tt.args, r.Method, r.URL.Path, raw)
			}
			_, _ = io.WriteString(w, `{"name":"june","state":"ROLLOUT_STATE_RUNNING","step":1,"steps":[{},{}]}`)
		})
		code, out, stderr := run(t, gateway, "", append([]string{"rollouts"}, strings.Fields(tt.args)...)...)
		if code != 0 || !strings.Contains(out, "running") || !strings.Contains(out, "1/2") {
			t.Errorf("%s: code %d, %s%s", tt.args, code, out, stderr)
		}
	}
}

// What happens is printed once, and the end decides the exit code.
func TestRolloutsStatusWatches(t *testing.T) {
	for end, wantErr := range map[string]bool{"SUCCEEDED": false, "ROLLED_BACK": true} {
		looks := 0
		gateway := roundTrip(func(r *http.Request) string {
			if strings.HasSuffix(r.URL.Path, "/events") {
				events := []string{`{"number":1,"kind":"ROLLOUT_EVENT_KIND_STARTED","words":"step 1 begins"}`}
				if looks > 2 {
					events = append(events, `{"number":2,"kind":"ROLLOUT_EVENT_KIND_`+end+`","words":"because"}`)
				}
				return `{"events":[` + strings.Join(events, ",") + `]}`
			}
			if looks++; looks > 2 {
				return `{"name":"r","state":"ROLLOUT_STATE_` + end + `","step":1,"steps":[{}]}`
			}
			return `{"name":"r","state":"ROLLOUT_STATE_RUNNING","step":1,"steps":[{}],"progress":{"words":"5s of 1m0s have passed"}}`
		})
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			a := &app{streams: Streams{Out: &out}, clock: clock.Real()}
			c, err := newClient("http://gateway", "k", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			c.http = &http.Client{Transport: gateway}
			if err := a.followRollout(t.Context(), c, "m", "r"); (err != nil) != wantErr {
				t.Errorf("%s: %v", end, err)
			}
			for _, line := range []string{"step 1 begins", "running, step 1/1: 5s of 1m0s have passed", "because"} {
				if strings.Count(out.String(), line) != 1 {
					t.Errorf("%q is not there once in\n%s", line, out.String())
				}
			}
		})
	}
}

// roundTrip answers requests without a network.
type roundTrip func(*http.Request) string

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f(r))), Request: r}, nil
}
