package edge_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// raw makes a request whose body is bytes.
func (g *gate) raw(method, path, contentType string, body io.Reader) (int, string, error) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestBackupIsBytes(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	if code, body, err := g.raw(http.MethodGet, "/v1/collections/c:backup", "", nil); err != nil || code != http.StatusOK || body != "c;c;" {
		t.Errorf("%d %q %v", code, body, err)
	}
	if code, body, err := g.raw(http.MethodGet, "/v1/collections/none:backup", "", nil); err != nil || code != http.StatusNotFound || !strings.Contains(body, "NOT_FOUND") {
		t.Errorf("%d %q %v", code, body, err)
	}
	if code, _, _ := g.raw(http.MethodGet, "/v1/collections/c:backup?x=1", "", nil); code != http.StatusBadRequest {
		t.Errorf("a query is answered %d", code)
	}
	// What breaks off does not look whole.
	if code, body, err := g.raw(http.MethodGet, "/v1/collections/breaks:backup", "", nil); err == nil {
		t.Errorf("%d %q", code, body)
	}
}

func TestRestoreTakesABodyOfAnyLength(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	const bytesType = "application/octet-stream"
	large := bytes.Repeat([]byte("x"), 9<<20+7) // more than a body may have
	code, body, err := g.raw(http.MethodPost, "/v1/collections:restore?collection=copy", bytesType, bytes.NewReader(large))
	if err != nil || code != http.StatusOK || !strings.Contains(body, `"id":"copy"`) || !strings.Contains(body, `"9437191"`) {
		t.Errorf("%d %q %v", code, body, err)
	}
	code, body, err = g.raw(http.MethodPost, "/v1/collections:restore?collection=copy", bytesType, io.MultiReader(bytes.NewReader(nil))) // of unknown length
	if err != nil || code != http.StatusOK || !strings.Contains(body, `"display_name":"0"`) {
		t.Errorf("%d %q %v", code, body, err)
	}
	for _, tc := range []struct {
		path, contentType string
		code              int
	}{
		{"?collection=taken", bytesType, http.StatusConflict},
		{"?collection=UPPER", bytesType, http.StatusBadRequest},
		{"", bytesType, http.StatusBadRequest},
		{"?collection=a&collection=b", bytesType, http.StatusBadRequest},
		{"?collection=copy&other=1", bytesType, http.StatusBadRequest},
		{"?collection=copy", "application/json", http.StatusUnsupportedMediaType},
	} {
		code, body, err := g.raw(http.MethodPost, "/v1/collections:restore"+tc.path, tc.contentType, bytes.NewReader(large[:3<<20]))
		if err != nil || code != tc.code {
			t.Errorf("%s, %s: %d %q %v", tc.path, tc.contentType, code, body, err)
		}
	}
}

// A body that is broken off is answered at once, though the service waits for
// more of it.
func TestARestoreThatIsBrokenIsGivenUp(t *testing.T) {
	g := open(t, func(*edge.Config) {})
	_, resp := g.half("POST /v1/collections:restore?collection=copy HTTP/1.1\r\nContent-Type: application/octet-stream\r\n"+
		"Transfer-Encoding: chunked\r\nAuthorization: Bearer "+g.key, "8\r\nPTBACKUP\r\nno chunk\r\n")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}
