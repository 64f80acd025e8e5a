package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestModelsLabel(t *testing.T) {
	var method, path string
	var body []byte
	gateway := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path = r.Method, r.URL.Path
		body, _ = io.ReadAll(r.Body)
		answer(200, `{"name":"m","labels":{"a":"1=2"}}`)(w, r)
	})
	code, out, stderr := run(t, gateway, "", "models", "label", "m", "a=1=2", "b-", "empty=")
	if code != 0 || method != http.MethodPatch || path != "/v1/registry/models/m" ||
		string(body) != `{"labels":{"a":"1=2","empty":""},"remove_labels":["b"]}` || !strings.Contains(out, "1=2") {
		t.Errorf("code %d, %s %s %s: %s%s", code, method, path, body, out, stderr)
	}
	for _, args := range [][]string{{"m"}, {"m", "a"}, {"m", "=x"}, {"m", "-"}, {}} {
		if code, _, _ := run(t, gateway, "", append([]string{"models", "label"}, args...)...); code != 2 {
			t.Errorf("%q: code %d", args, code)
		}
	}
}
