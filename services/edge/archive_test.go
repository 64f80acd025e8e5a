package edge_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// An archive is lines of any number: no bound on bodies is in its way.
func TestArchiveIsStreamed(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	if code, body, err := g.raw(http.MethodGet, "/v1/registry/archive:export", "", nil); err != nil || code != http.StatusOK || body != "{\"header\":{}}\n" {
		t.Errorf("%d %q %v", code, body, err)
	}
	const lines, path = "application/x-ndjson", "/v1/registry/archive:import"
	large := bytes.Repeat([]byte("x"), 9<<20+7) // more than a body may have
	code, body, err := g.raw(http.MethodPost, path+"?conflict=skip&dry_run=true", lines, bytes.NewReader(large))
	if err != nil || code != http.StatusOK || !strings.Contains(body, `"IMPORT_CONFLICT_SKIP true 9437191":"IMPORT_OUTCOME_CREATED"`) {
		t.Errorf("%d %q %v", code, body, err)
	}
	for query, contentType := range map[string]string{
		"?conflict=all": lines, "?conflict=skip&conflict=fail": lines, "?dry_run=maybe": lines, "?other=1": lines, "": "application/json",
	} {
		code, body, err := g.raw(http.MethodPost, path+query, contentType, bytes.NewReader(large[:3<<20]))
		if want := map[bool]int{true: http.StatusBadRequest, false: http.StatusUnsupportedMediaType}[contentType == lines]; err != nil || code != want {
			t.Errorf("%s, %s: %d %q %v", query, contentType, code, body, err)
		}
	}
	if code, _, _ := g.raw(http.MethodGet, "/v1/registry/archive:export?x=1", "", nil); code != http.StatusBadRequest {
		t.Errorf("a query is answered %d", code)
	}
}

// A body that is broken off is answered at once, though the registry waits for more
// of it.
func TestAnArchiveThatIsBrokenIsGivenUp(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	_, resp := g.half("POST /v1/registry/archive:import HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"+
		"Transfer-Encoding: chunked\r\nAuthorization: Bearer "+g.key, "8\r\n{\"header\r\nno chunk\r\n")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}
