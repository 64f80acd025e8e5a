package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestSessions(t *testing.T) {
	var asked []string
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		switch r.Method {
		case http.MethodGet:
			fmt.Fprint(w, `{"sessions":[{"id":"0a","tenant":"acme","subject":"ana","roles":["reader"],"user_agent":"Firefox\u001b[31m"}]}`)
		case http.MethodPost:
			fmt.Fprint(w, `{"ended":3}`)
		default:
			fmt.Fprint(w, `{}`)
		}
	})
	for _, c := range []struct {
		args        []string
		code        int
		asked, says string
	}{
		{[]string{"list"}, 0, "GET /v1/admin/sessions", "ana"},
		{[]string{"list", "--subject", "ana", "--tenant", "acme"}, 0, "GET /v1/admin/sessions?subject=ana&tenant=acme", "Firefox"},
		{[]string{"list", "--own"}, 0, "GET /v1/sessions", "acme"},
		{[]string{"list", "--own", "--tenant", "acme"}, 2, "", ""},
		{[]string{"end", "0a"}, 0, "DELETE /v1/admin/sessions/0a", "1"},
		{[]string{"end", "--own", "0a"}, 0, "DELETE /v1/sessions/0a", "1"},
		{[]string{"end"}, 2, "", ""},
		{[]string{"end-all", "ana", "--tenant", "acme"}, 0, `POST /v1/admin/sessions:end {"subject":"ana","tenant":"acme"}`, "3"},
		{[]string{"end-all"}, 2, "", ""},
	} {
		asked = nil
		code, stdout, stderr := run(t, gateway, "", append([]string{"sessions"}, c.args...)...)
		if code != c.code || c.asked != "" && (len(asked) != 1 || !strings.HasPrefix(asked[0], c.asked)) || !strings.Contains(stdout, c.says) {
			t.Errorf("%v: code %d, asked %q, says %s%s", c.args, code, asked, stdout, stderr)
		}
		if strings.ContainsRune(stdout, 0x1b) {
			t.Errorf("a terminal escape got through: %q", stdout)
		}
	}
}
