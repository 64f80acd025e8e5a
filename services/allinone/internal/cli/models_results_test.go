package cli

import (
	"net/http"
	"strings"
	"testing"
)

func TestModelsResults(t *testing.T) {
	var asked []string
	mux := http.NewServeMux()
	results := func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		answer(http.StatusOK, `{"model":"m","baseline":"a","verdict":"VERDICT_BREACH","words":"arm b: error_rate is 20 % beside 2 %","arms":[
		  {"arm":"a","version":1,"sums":{"requests":"450"},"estimates":[{"metric":"error_rate","value":0.02,"lower":0.006,"upper":0.05}],"effects":[]},
		  {"arm":"b","version":2,"sums":{"requests":"50"},"estimates":[{"metric":"error_rate","value":0.2,"lower":0.0712345,"upper":0.4},
		    {"metric":"latency_p95","value":1.5,"lower":null,"upper":null}],
		   "effects":[{"metric":"error_rate","value":9,"lower":0.6,"upper":null}]}]}`)(w, r)
	}
	mux.HandleFunc("GET /v1/registry/models/m/results", results)
	mux.HandleFunc("GET /v1/registry/models/m/experiments/e/results", results)
	code, out, stderr := run(t, mux, "", "models", "results", "m", "--baseline", "a", "--min-requests", "10")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	for _, want := range []string{"a    1        450       error_rate   0.02", "0.07123", "900", "latency_p95  1.5", "VERDICT_BREACH", "arm b: error_rate is 20 % beside 2 %"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing:\n%s", want, out)
		}
	}
	if code, _, stderr := run(t, mux, "", "models", "results", "m", "--experiment", "e"); code != 0 {
		t.Errorf("code %d: %s", code, stderr)
	}
	if want := "/v1/registry/models/m/results?baseline=a&min_requests=10 /v1/registry/models/m/experiments/e/results"; strings.Join(asked, " ") != want {
		t.Errorf("asked for %v", asked)
	}
}
