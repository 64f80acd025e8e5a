package cli

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// importGateway settles lines, and cuts the first connections off after some.
type importGateway struct {
	mu    sync.Mutex
	seen  []string
	cuts  int
	after int
	warns string // what the end warns of, as JSON
}

func (g *importGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	line, _ := strconv.Atoi(r.URL.Query().Get("first_line"))
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	in := bufio.NewScanner(r.Body)
	for n := 0; in.Scan(); n++ {
		g.mu.Lock()
		cut := g.cuts > 0 && n == g.after
		if cut {
			g.cuts--
		}
		g.mu.Unlock()
		if cut {
			panic(http.ErrAbortHandler)
		}
		g.mu.Lock()
		g.seen = append(g.seen, fmt.Sprint(line, ":", in.Text()))
		g.mu.Unlock()
		status, fault := "created", ""
		if strings.Contains(in.Text(), "bad") {
			status, fault = "failed", `,"error":{"code":"INVALID_ARGUMENT","message":"id must not hold /"}`
		}
		_, _ = fmt.Fprintf(w, `{"verdict":{"line":%d,"id":"x","status":%q,"settled_lines":%d%s}}`+"\n", line, status, line, fault)
		_ = http.NewResponseController(w).Flush()
		line++
	}
	_, _ = fmt.Fprintf(w, `{"progress":{"settled_lines":%d,"done":true,"warnings":[%s]}}`+"\n", line-1, g.warns)
}

func TestImportGoesOnAfterALostConnection(t *testing.T) {
	g := &importGateway{cuts: 1, after: 2}
	code, stdout, stderr := run(t, g, "one\ntwo\n\nfour\nfive", "collections", "import", "c", "-", "-o", "json")
	if code != 0 || !strings.Contains(stdout, `"created": 5`) || !strings.Contains(stdout, `"settled_lines": 5`) {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	if got := strings.Join(g.seen, " "); got != "1:one 2:two 3: 4:four 5:five" {
		t.Errorf("the gateway saw %s", got)
	}
	if !strings.Contains(stderr, "after line 2") {
		t.Errorf("stderr: %s", stderr)
	}
}

// A line that could not be read has no id to tell.
func TestImportTellsOfLinesWithoutAnID(t *testing.T) {
	gateway := answer(http.StatusOK, `{"verdict":{"line":7,"id":"","status":"failed","settled_lines":7,"error":{"code":"INVALID_ARGUMENT","message":"the line must be a JSON object"}}}
{"progress":{"settled_lines":7,"done":true}}`)
	if _, _, stderr := run(t, gateway, "x\n", "collections", "import", "c", "-"); !strings.Contains(stderr, "line 7: the line must be a JSON object (INVALID_ARGUMENT)") {
		t.Errorf("got %s", stderr)
	}
}

func TestImportFailsWithItsDocuments(t *testing.T) {
	code, stdout, stderr := run(t, new(importGateway), "one\nbad\nthree\n", "collections", "import", "c", "-", "--skip-lines", "1")
	if code != 1 || !strings.Contains(stderr, `line 2, document "x": id must not hold / (INVALID_ARGUMENT)`) ||
		!strings.Contains(stderr, "1 documents failed") || !strings.Contains(stdout, "SETTLED_LINES") {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	code, _, stderr = run(t, answer(http.StatusNotFound, `{"title":"x","status":404,"detail":"there is no collection","code":"NOT_FOUND"}`), "one\n",
		"collections", "import", "c", "-")
	if code != 1 || !strings.Contains(stderr, "there is no collection (NOT_FOUND") || strings.Contains(stderr, "trying again") {
		t.Errorf("%d, %s", code, stderr)
	}
	if code, _, _ := run(t, nil, "", "collections", "import", "c", "-", "--skip-lines", "-1"); code != 2 {
		t.Errorf("exit code %d", code)
	}
}

// What is kept and not found yet is a success, and said.
func TestImportWarns(t *testing.T) {
	g := &importGateway{warns: `"they will be found later"`}
	code, stdout, stderr := run(t, g, "one\n", "collections", "import", "c", "-", "-o", "json")
	if code != 0 || !strings.Contains(stderr, "warning: they will be found later") || !strings.Contains(stdout, `"they will be found later"`) {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}
