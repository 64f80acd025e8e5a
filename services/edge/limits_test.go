package edge_test

import (
	"net/http"
	"strings"
	"testing"
)

// limited sets a limit of the platform's.
func (g *gate) limited(name, limit string) {
	g.t.Helper()
	if a := g.do("PUT", "/v1/admin/limits/"+name, `{"limit":`+limit+`}`); a.status != http.StatusOK {
		g.t.Fatalf("%d %s", a.status, a.text)
	}
}

// A limit by user counts the users of every shape of a request.
func TestLimitsByUserSeeEveryShape(t *testing.T) {
	g := open(t, nil)
	g.limited("mu", `{"kind":"LIMIT_KIND_REQUESTS","by":["user"],"match":{"users":["zed-*"]},"amount":1,"period":"3600s"}`)
	const talk = `"messages":[{"role":"user","content":"Hi"}]`
	shapes := map[string]struct{ path, body string }{
		"chat":             {chatPath, `{"model":"small",` + talk + `,"user":"WHO"}`},
		"completion":       {"/v1/completions", `{"model":"small","prompt":"Hi","user":"WHO"}`},
		"embedding":        {"/v1/embeddings", `{"model":"small","input":"Hi","user":"WHO"}`},
		"response":         {"/v1/responses", `{"model":"small","input":"Hi","user":"WHO"}`},
		"message":          {messagesPath, `{"model":"small","max_tokens":9,` + talk + `,"user":"WHO"}`},
		"chat, safety":     {chatPath, `{"model":"small",` + talk + `,"safety_identifier":"WHO"}`},
		"response, safety": {"/v1/responses", `{"model":"small","input":"Hi","safety_identifier":"WHO"}`},
		"message, safety":  {messagesPath, `{"model":"small","max_tokens":9,` + talk + `,"safety_identifier":"WHO"}`},
		"both":             {chatPath, `{"model":"small",` + talk + `,"user":"WHO","safety_identifier":"ada"}`},
		"metadata":         {messagesPath, `{"model":"small","max_tokens":9,` + talk + `,"metadata":{"user_id":"WHO"}}`},
		"stream":           {messagesPath, `{"model":"small","max_tokens":9,"stream":true,` + talk + `,"metadata":{"user_id":"WHO"}}`},
	}
	for name, s := range shapes {
		ask := func(who string) answer { return g.do("POST", s.path, strings.Replace(s.body, "WHO", who, 1)) }
		first, second := ask("zed-"+name), ask("zed-"+name)
		if first.status == http.StatusTooManyRequests || !strings.Contains(first.header.Get("RateLimit"), `"mu";r=0`) {
			t.Errorf("%s: %d %q %s", name, first.status, first.header.Get("RateLimit"), first.text)
		}
		if second.status != http.StatusTooManyRequests || !strings.Contains(second.text, "mu") || second.header.Get("Retry-After") == "" {
			t.Errorf("%s again: %d %s", name, second.status, second.text)
		}
		if other := ask("ada"); other.status == http.StatusTooManyRequests || strings.Contains(other.header.Get("RateLimit"), `"mu"`) {
			t.Errorf("%s of another: %d %s", name, other.status, other.text)
		}
	}
}
