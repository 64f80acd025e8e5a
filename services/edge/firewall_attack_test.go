package edge_test

import (
	"net/http"
	"strings"
	"testing"
)

// An attack on a protected route reaches nothing by another way to write the route,
// the method or the text: it is blocked, or there is no such route, or it is not read.
func TestAttacksInDisguise(t *testing.T) {
	g, _ := walled(t, nil)
	const search = "/v1/collections/c:search"
	const attack = `{"query":"x' OR '1'='1 UNION SELECT password FROM users--"}`
	if a := g.do(http.MethodPost, search, attack); a.status != http.StatusForbidden {
		t.Fatalf("undisguised: %d %s", a.status, a.text)
	}
	if a := g.do(http.MethodPost, search, `{"query":"how do I reset a password"}`); a.status != http.StatusOK {
		t.Fatalf("no attack: %d %s", a.status, a.text)
	}
	for name, c := range map[string]struct {
		method, path, body string
		header             []string
	}{
		"two slashes before":       {path: "/" + search},
		"two slashes within":       {path: "/v1//collections/c:search"},
		"a dot":                    {path: "/v1/./collections/c:search"},
		"two dots":                 {path: "/v1/chat/../collections/c:search"},
		"through a prompt's path":  {path: "/v1/chat/completions/../../collections/c:search"},
		"escaped dots":             {path: "/v1/chat/completions/%2e%2e/%2e%2e/collections/c:search"},
		"escaped slashes":          {path: "/v1/chat/completions%2f..%2f..%2fcollections/c:search"},
		"an escaped colon":         {path: "/v1/collections/c%3Asearch"},
		"an escaped letter":        {path: "/v1/%63ollections/c:search"},
		"an escaped verb":          {path: "/v1/collections/c:%73earch"},
		"capitals":                 {path: "/V1/Collections/c:search"},
		"a capital verb":           {path: "/v1/collections/c:Search"},
		"a slash behind":           {path: search + "/"},
		"a dot behind":             {path: search + "."},
		"a parameter of the path":  {path: search + ";v=1"},
		"a prompt's path as one":   {path: search + ";/v1/chat/completions"},
		"a zero byte":              {path: search + "%00"},
		"a space behind":           {path: search + "%20"},
		"a query":                  {path: search + "?x=/v1/chat/completions"},
		"another method":           {method: http.MethodPut, path: search},
		"a method of the header":   {method: http.MethodGet, path: search, header: []string{"X-HTTP-Method-Override", "POST"}},
		"a path of the header":     {path: search, header: []string{"X-Original-URL", "/v1/chat/completions", "X-Rewrite-URL", "/v1/chat/completions"}},
		"a host of the header":     {path: search, header: []string{"X-Forwarded-Host", "x", "X-Forwarded-Prefix", "/v1/chat"}},
		"as a form":                {path: search, header: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"as a form of parts":       {path: search, header: []string{"Content-Type", "multipart/form-data; boundary=x"}},
		"as plain text":            {path: search, header: []string{"Content-Type", "text/plain"}},
		"in UTF-7":                 {path: search, header: []string{"Content-Type", "application/json; charset=utf-7"}},
		"in UTF-16":                {path: search, header: []string{"Content-Type", "application/json; charset=utf-16"}},
		"said to be compressed":    {path: search, header: []string{"Content-Encoding", "gzip"}},
		"said to be a type twice":  {path: search, header: []string{"Content-Type", "application/json, text/plain"}},
		"with a mark before":       {path: search, body: "\ufeff" + attack},
		"spelt in escapes":         {path: search, body: `{"query":"x\u0027 OR \u00271\u0027=\u00271 UNION SELECT password FROM users--"}`},
		"a name in escapes":        {path: search, body: strings.Replace(attack, "query", `qu\u0065ry`, 1)},
		"in wide letters":          {path: search, body: `{"query":"x' ＯＲ '1'='1' OR '1'='1 UNION SELECT password FROM users--"}`},
		"with comments within":     {path: search, body: `{"query":"x'/**/OR/**/'1'='1'/**/UNION/**/SELECT/**/password/**/FROM/**/users--"}`},
		"escaped for a URL":        {path: search, body: `{"query":"x%27%20OR%20%271%27%3D%271%20UNION%20SELECT%20password%20FROM%20users--"}`},
		"the member twice":         {path: search, body: `{"query":"fine",` + attack[1:]},
		"the member twice, turned": {path: search, body: attack[:len(attack)-1] + `,"query":"fine"}`},
		"in another member":        {path: search, body: strings.Replace(attack, "query", "page_token", 1)},
		"behind a lot":             {path: search, body: `{"filter":"` + strings.Repeat("x", 60<<10) + `",` + attack[1:]},
		"behind more":              {path: search, body: strings.Repeat(" ", 70<<10) + attack},
	} {
		method, body := c.method, c.body
		if method == "" {
			method = http.MethodPost
		}
		if body == "" {
			body = attack
		}
		if a := g.do(method, c.path, body, c.header...); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
}
