package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const experimentAnswer = `{"name":"x","state":"EXPERIMENT_STATE_RUNNING","arms":[` +
	`{"name":"control","version":1,"weight":900000},{"name":"candidate","alias":"next","weight":100000}],"shadow":{"version":3,"share":5000}}`

// Every verb asks for what its line says.
func TestExperiments(t *testing.T) {
	for _, tt := range []struct {
		line, method, path, body, out string
	}{
		{
			"create m x control=1:90 candidate=@next:10 --layer l --share 50 --priority 3 --sticky session --shadow v3:0.5", "POST", "/v1/registry/models/m/experiments",
			`{"name":"x","description":"","layer":"l","share":500000,"priority":3,"sticky_by":"STICKY_BY_SESSION","arms":[` +
				`{"name":"control","version":1,"weight":900000},{"name":"candidate","alias":"next","weight":100000}],"shadow":{"version":3,"share":5000}}`, "@next",
		},
		{"get m x", "GET", "/v1/registry/models/m/experiments/x", ``, "running"},
		{"start m x", "POST", "/v1/registry/models/m/experiments/x:start", `{"etag":"*"}`, "control"},
		{"ramp m x candidate=25", "POST", "/v1/registry/models/m/experiments/x:ramp", `{"etag":"*","share":0,"weights":{"candidate":250000}}`, "(shadow)"},
		{"stop m x --reason why", "POST", "/v1/registry/models/m/experiments/x:stop", `{"etag":"*","reason":"why"}`, "0.5"},
		{"conclude m x --winner candidate", "POST", "/v1/registry/models/m/experiments/x:conclude", `{"etag":"*","reason":"","winner":"candidate"}`, "candidate"},
		{"delete m x", "DELETE", "/v1/registry/models/m/experiments/x?etag=*", ``, ""},
	} {
		t.Run(tt.line, func(t *testing.T) {
			var got string
			var body any
			gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got = r.Method + " " + r.URL.RequestURI()
				if raw, _ := io.ReadAll(r.Body); len(raw) > 0 {
					_ = json.Unmarshal(raw, &body)
				}
				_, _ = io.WriteString(w, experimentAnswer)
			})
			code, out, stderr := run(t, gateway, "", append([]string{"experiments"}, strings.Fields(tt.line)...)...)
			if code != 0 || got != tt.method+" "+tt.path || !strings.Contains(out, tt.out) {
				t.Fatalf("code %d, asked %s, printed %s%s", code, got, out, stderr)
			}
			var want any
			if tt.body != "" {
				_ = json.Unmarshal([]byte(tt.body), &want)
			}
			if !reflect.DeepEqual(body, want) {
				t.Errorf("sent %v\nwant %v", body, want)
			}
		})
	}
	list := answer(200, `{"experiments":[`+experimentAnswer+`]}`)
	if code, out, _ := run(t, list, "", "experiments", "list", "m"); code != 0 || !strings.Contains(out, "control=90 candidate=10") {
		t.Errorf("code %d: %s", code, out)
	}
	for _, line := range []string{"create m x control", "create m x control=one:5", "create m x --shadow 3", "ramp m x", "ramp m x candidate=101", "get m"} {
		if code, _, _ := run(t, nil, "", append([]string{"experiments"}, strings.Fields(line)...)...); code != 2 {
			t.Errorf("%s: code %d, want 2", line, code)
		}
	}
}
