package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

const importPath = "/v1/collections/c/documents:import"

// importing posts a body of lines, and returns the answer, whose body is open.
func (g *gate) importing(path string, body io.Reader, pairs ...string) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	for i := 0; i < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func all(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is wrong with a line does not take the document's id from its verdict, as
// long as it can be known.
func TestImportKeepsTheIDOfAWrongLine(t *testing.T) {
	g := open(t, nil)
	for line, id := range map[string]string{
		`{"id":"a","text":7}`:                                 "a",
		`{"metadata":{"id":"inner"},"text":[],"id":"b"}`:      "b",
		`{"id":"c","colour":"red"}`:                           "c",
		`{"title":{},"id":"d\u00e9"}`:                         "d\u00e9",
		`{"id":7,"text":"x"}`:                                 "",
		`{"id":"e","text":7`:                                  "",
		`{"id":"f","id":"g","text":"x"}`:                      "",
		`{"id":"h","text":"x"} {}`:                            "",
		`["id","i"]`:                                          "",
		`"id"`:                                                "",
		`{"id":"` + strings.Repeat("x", 2000) + `","text":7}`: "",
	} {
		got := all(t, g.importing(importPath, strings.NewReader(line)).Body)
		if want := `{"verdict":{"line":1,"id":"` + id + `","status":"failed",`; !strings.Contains(got, want) {
			t.Errorf("%.80s: %s is missing in\n%s", line, want, got)
		}
	}
}

func TestImportAnswersLineByLine(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.MaxLineBytes = 2048 })
	body := "\ufeff" + `{"id":"a","text":"x"}` + "\r\n\n" + `{"id":` + "\n" + strings.Repeat("y", 100_000) + "\n" + `{"id":"b","colour":"red"}` + "\n" + `{"id":"z"}`
	got := all(t, g.importing(importPath+"?first_line=5", strings.NewReader(body)).Body)
	for _, want := range []string{
		`{"verdict":{"line":5,"id":"a","status":"created",`, `{"verdict":{"line":7,`, `{"verdict":{"line":8,`, `"code":"PAYLOAD_TOO_LARGE"`,
		`{"verdict":{"line":9,`, `"field":"colour"`, `{"verdict":{"line":10,"id":"z","status":"created",`, `"settled_lines":10`, `"done":true`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, `"line":6,`) {
		t.Errorf("an empty line has a verdict:\n%s", got)
	}
	got = all(t, g.importing(importPath+"?skip_lines=5&verdicts=failed", strings.NewReader(body)).Body)
	if strings.Contains(got, "verdict") || !strings.Contains(got, `"settled_lines":6`) {
		t.Errorf("what was settled is not passed over:\n%s", got)
	}
}

// Verdicts come while the body is still being sent, far beyond the bound of other
// bodies.
func TestImportIsReadAsItIsAnswered(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.HTTP.MaxBodyBytes = 4096 })
	in, out := io.Pipe()
	resp := g.importing(importPath, in)
	answers := bufio.NewReader(resp.Body)
	expect := func(want string) {
		t.Helper()
		for {
			line, err := answers.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, want) {
				return
			}
		}
	}
	expect("progress")
	for i := range 50 {
		_, _ = fmt.Fprintf(out, `{"id":"d%d","text":%q}`+"\n", i, strings.Repeat("z", 1000))
		expect(fmt.Sprintf(`"id":"d%d"`, i))
	}
	_ = out.Close()
	expect(`"done":true`)
}

func TestImportEndsWithAnErrorLine(t *testing.T) {
	g := open(t, nil)
	in, out := io.Pipe()
	resp := g.importing(importPath, in)
	_, _ = io.WriteString(out, `{"id":"outage"}`+"\n")
	got := all(t, resp.Body) // the body has no end, and the answer has
	if !strings.Contains(got, `{"error":{`) || !strings.Contains(got, `"code":"UNAVAILABLE"`) || strings.Contains(got, "done\":true") {
		t.Errorf("got %s", got)
	}
	_ = out.Close()
}

func TestImportRefusesBeforeItReads(t *testing.T) {
	g := open(t, nil)
	never, out := io.Pipe() // nothing is sent, and nothing waited for
	t.Cleanup(func() { _ = out.Close() })
	for name, tt := range map[string]struct {
		path   string
		pairs  []string
		status int
	}{
		"a stranger":           {importPath, []string{"Authorization", "Bearer pk_nobody"}, 401},
		"no collection":        {"/v1/collections/none/documents:import", nil, 404},
		"another type":         {importPath, []string{"Content-Type", "application/json"}, 415},
		"compressed":           {importPath, []string{"Content-Encoding", "gzip"}, 415},
		"a bad line":           {importPath + "?skip_lines=-1", nil, 400},
		"an unknown parameter": {importPath + "?colour=red", nil, 400},
		"a bad refresh":        {importPath + "?refresh=maybe", nil, 400},
		"an endless name":      {"/v1/collections/" + strings.Repeat("c", 64) + "/documents:import", nil, 400},
	} {
		resp := g.importing(tt.path, never, tt.pairs...)
		body := all(t, resp.Body)
		if resp.StatusCode != tt.status || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}
