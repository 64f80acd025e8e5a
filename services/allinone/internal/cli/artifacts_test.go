package cli

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// uploadGateway keeps one upload, and loses some of its answers.
type uploadGateway struct {
	size, lose int
	sum        string
	data       []byte
	artifact   bool
	begun      int
}

func (g *uploadGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	problem := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"title":"no","status":%d,"detail":"no","code":%q}`, status, code)
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/registry/uploads":
		if g.artifact {
			problem(http.StatusConflict, "ALREADY_EXISTS")
			return
		}
		g.begun++
		g.size, _ = strconv.Atoi(r.Header.Get("Upload-Length"))
		_, meta, _ := strings.Cut(r.Header.Get("Upload-Metadata"), ",sha256 ")
		raw, _ := base64.StdEncoding.DecodeString(meta)
		g.sum = string(raw)
		w.Header().Set("Location", "/v1/registry/uploads/u1")
		w.WriteHeader(http.StatusCreated)
	case "GET /v1/registry/uploads":
		_, _ = io.WriteString(w, `{"uploads":[{"id":"u1"}]}`)
	case "HEAD /v1/registry/uploads/u1":
		w.Header().Set("Upload-Offset", strconv.Itoa(len(g.data)))
	case "PATCH /v1/registry/uploads/u1":
		body, _ := io.ReadAll(r.Body)
		sum := sha256.Sum256(body)
		if r.Header.Get("Upload-Offset") != strconv.Itoa(len(g.data)) || r.Header.Get("Upload-Checksum") != "sha256 "+base64.StdEncoding.EncodeToString(sum[:]) {
			problem(http.StatusConflict, "CONFLICT")
			return
		}
		g.data = append(g.data, body...)
		if g.lose--; g.lose >= 0 {
			problem(http.StatusServiceUnavailable, "UNAVAILABLE")
			return
		}
		w.Header().Set("Upload-Offset", strconv.Itoa(len(g.data)))
		w.WriteHeader(http.StatusNoContent)
	case "POST /v1/registry/uploads/u1:complete":
		got := sha256.Sum256(g.data)
		g.artifact = hex.EncodeToString(got[:]) == g.sum
		_, _ = io.WriteString(w, `{}`)
	case "GET /v1/registry/artifacts/" + g.sum:
		_, _ = fmt.Fprintf(w, `{"sha256":%q,"size_bytes":"%d","name":"m.gguf","uri":"registry://sha256/%s"}`, g.sum, len(g.data), g.sum)
	default:
		http.NotFound(w, r)
	}
}

func TestUploadGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	data := []byte(strings.Repeat("0123456789", 1_200_000)) // three parts
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &uploadGateway{lose: 1}
	code, stdout, stderr := run(t, g, "", "artifacts", "upload", path)
	if code != 0 || !g.artifact || !strings.Contains(stdout, "registry://sha256/"+g.sum) || !strings.Contains(stderr, "trying again") {
		t.Fatalf("exit %d: %s %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, g, "", "artifacts", "upload", path)
	if code != 0 || g.begun != 1 || !strings.Contains(stderr, "already") || !strings.Contains(stdout, g.sum) {
		t.Errorf("again: exit %d: %s %s", code, stdout, stderr)
	}
	g.artifact, g.data = false, g.data[:5_000_000]
	if code, _, stderr := run(t, g, "", "artifacts", "upload", "--resume", path); code != 0 || g.begun != 1 || len(g.data) != len(data) || !g.artifact {
		t.Errorf("resumed: exit %d, begun %d times, %d bytes: %s", code, g.begun, len(g.data), stderr)
	}
	if code, _, _ := run(t, g, "", "artifacts", "describe", "abc"); code != 2 {
		t.Errorf("a strange name: exit %d", code)
	}
	if code, _, _ := run(t, g, "", "artifacts", "upload", filepath.Dir(path)); code != 2 {
		t.Errorf("a directory: exit %d", code)
	}
}
