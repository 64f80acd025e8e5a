package edge_test

import (
	"strings"
	"testing"
)

// An answer that is given again says that it cost nothing, and for how long it is fresh,
// in whatever API and form it was asked for.
func TestAHitTellsItsCostAndItsLifetime(t *testing.T) {
	g := caching(t, nil)
	g.do("POST", "/v1/admin/prices", `{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`)
	for name, c := range map[string]struct{ path, body string }{
		"chat":       {chatPath, `{"model":"small","messages":[{"role":"user","content":"one"}],"temperature":0}`},
		"a stream":   {chatPath, `{"model":"small","messages":[{"role":"user","content":"two"}],"temperature":0,"stream":true}`},
		"completion": {"/v1/completions", `{"model":"small","prompt":"three","temperature":0}`},
		"embedding":  {"/v1/embeddings", `{"model":"small","input":"four"}`},
		"response":   {"/v1/responses", `{"model":"small","input":"five","temperature":0,"store":false}`},
		"message":    {"/v1/messages", `{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"six"}],"temperature":0}`},
	} {
		made := g.do("POST", c.path, c.body, "x-poterne-cache", "on, truncated")
		hit := g.do("POST", c.path, c.body, "x-poterne-cache", "on, truncated")
		cost, control := hit.header.Get("X-Poterne-Cost"), hit.header.Get("Cache-Control")
		streamed := name == "a stream"
		if made.header.Get("X-Poterne-Cache") != "miss" || hit.header.Get("X-Poterne-Cache") != "hit" || !streamed && (cost != "0 USD" || made.header.Get("X-Poterne-Cost") == "") {
			t.Errorf("%s: %v, then %v %s", name, made.header, hit.header, hit.text)
		}
		if !strings.HasPrefix(control, "private, max-age=") || strings.HasSuffix(control, ", no-transform") != streamed || hit.header.Get("Age") != "0" {
			t.Errorf("%s: Cache-Control is %q", name, control)
		}
	}
	for _, c := range []struct{ input, cache, control string }{
		{`["four","seven"]`, "miss", "no-store"}, {`["seven","four","seven"]`, "hit", "private, max-age=3"},
	} {
		h := g.do("POST", "/v1/embeddings", `{"model":"small","input":`+c.input+`}`).header
		if h.Get("X-Poterne-Cache") != c.cache || !strings.HasPrefix(h.Get("Cache-Control"), c.control) || (h.Get("Age") != "") != (c.cache == "hit") {
			t.Errorf("%s: %v", c.input, h)
		}
	}
}
