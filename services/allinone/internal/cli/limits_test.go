package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// What is not given of a limit that there is stays as it is.
func TestWhatALimitHasIsKept(t *testing.T) {
	const there = `{"limit":{"name":"few","kind":"LIMIT_KIND_TOTAL_TOKENS","by":["tenant","user"],"amount":"30","period":"90s","burst":"7","away":"LIMIT_AWAY_REFUSE","match":{"models":["gpt-*"],"keys":["k1"]}}}`
	for args, want := range map[string][]string{
		"--amount 50":                  {`"amount":50`, `"kind":"LIMIT_KIND_TOTAL_TOKENS"`, `"by":["tenant","user"]`, `"period":"90s"`, `"burst":"7"`, `"away":"LIMIT_AWAY_REFUSE"`, `"models":["gpt-*"]`, `"keys":["k1"]`},
		"--amount 50 --kind requests":  {`"kind":"LIMIT_KIND_REQUESTS"`, `"by":["tenant","user"]`},
		"--amount 50 --by= --models m": {`"by":[]`, `"models":["m"]`, `"keys":["k1"]`},
		"--amount 50 --tenant acme":    {"PUT /v1/admin/limits/few", `"tenant":"acme"`, `"by":["tenant","user"]`},
	} {
		var put string
		gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				body, _ := io.ReadAll(r.Body)
				put = r.Method + " " + r.URL.RequestURI() + " " + string(body)
			} else if strings.Contains(args, "acme") != (r.URL.Query().Get("tenant") == "acme") {
				t.Errorf("%s: looks at %s", args, r.URL)
			}
			_, _ = io.WriteString(w, there)
		})
		code, stdout, stderr := run(t, gateway, "", strings.Fields("limits set few "+args)...)
		for _, w := range want {
			if code != 0 || !strings.Contains(put, w) {
				t.Errorf("%s: code %d, puts %s, want %s in it; says %s%s", args, code, put, w, stdout, stderr)
			}
		}
	}
	denied := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if code, _, stderr := run(t, denied, "", "limits", "set", "few", "--amount", "5"); code == 0 || stderr == "" {
		t.Errorf("what there is cannot be looked at: code %d, says %q", code, stderr)
	}
}
