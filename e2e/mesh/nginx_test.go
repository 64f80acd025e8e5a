//go:build real

package mesh

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/e2e/process"
)

// What NGINX answers by itself looks like what an edge answers. There is no
// edge here.
func TestRealNginxAnswersInOurShape(t *testing.T) {
	nginx := os.Getenv("POTERNE_NGINX_BIN")
	if nginx == "" {
		t.Fatal("POTERNE_NGINX_BIN is not set: scripts/components.sh env says it")
	}
	ports, err := FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	m := &Mesh{opts: Options{Root: root, StateDir: t.TempDir(), Ports: ports, Parts: Parts{Nginx: nginx}}}
	for _, dir := range []string{"log", "run", "nginx"} {
		if err := os.MkdirAll(m.state(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.writeNginx(); err != nil {
		t.Fatal(err)
	}
	p := process.New(m.nginxSpec(), m.opts.StateDir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })

	long := strings.Repeat("a", 40<<10)
	const chat = "/v1/chat/completions"
	for name, tt := range map[string]struct {
		request string
		status  int
		code    string
	}{
		"no edge":          {"GET /v1/collections HTTP/1.1\r\nHost: x\r\n\r\n", 503, "UNAVAILABLE"},
		"no edge, OpenAI":  {"POST " + chat + " HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 503, "unavailable"},
		"body":             {"POST /v1/collections HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, "PAYLOAD_TOO_LARGE"},
		"body, OpenAI":     {"POST " + chat + "?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, "payload_too_large"},
		"path":             {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"path above":       {"GET /../../x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"long path":        {"GET /" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 414, "INVALID_ARGUMENT"},
		"header":           {"GET / HTTP/1.1\r\nHost: x\r\nA: " + long + "\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"no host":          {"GET / HTTP/1.1\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"trace":            {"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "METHOD_NOT_ALLOWED"},
		"garbage":          {"\x16\x03\x01 nonsense\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"length":           {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, "INVALID_ARGUMENT"},
		"internal path":    {"GET /poterne-error/problem HTTP/1.1\r\nHost: x\r\n\r\n", 404, "NOT_FOUND"},
		"version":          {"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 505, "INVALID_ARGUMENT"},
		"broken long path": {"GET " + chat + "/" + long + " HTTP/1.1\r\nHost: x\r\n\r\n", 414, "INVALID_ARGUMENT"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := speak(t, addr(ports.HTTP), tt.request)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d: %s", resp.StatusCode, body)
			}
			var answer struct {
				Status    int    `json:"status"`
				Code      string `json:"code"`
				RequestID string `json:"request_id"`
				Error     struct {
					Code      string `json:"code"`
					RequestID string `json:"request_id"`
				} `json:"error"`
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatalf("not JSON: %s", body)
			}
			kind, id := resp.Header.Get("Content-Type"), answer.RequestID+answer.Error.RequestID
			if id == "" || id != resp.Header.Get("X-Request-Id") {
				t.Errorf("request id %q, header %v", id, resp.Header)
			}
			if answer.Code+answer.Error.Code != tt.code {
				t.Errorf("code in %s", body)
			}
			if (answer.Error.RequestID == "") != (kind == "application/problem+json") {
				t.Errorf("content type %q for %s", kind, body)
			}
			if answer.Error.RequestID == "" && answer.Status != tt.status {
				t.Errorf("status in %s", body)
			}
			if (resp.Header.Get("Retry-After") != "") != (tt.status == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
			}
		})
	}
	resp, _ := speak(t, addr(ports.HTTP), "GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine-1\r\n\r\n")
	if got := resp.Header.Get("X-Request-Id"); got != "mine-1" {
		t.Errorf("the client's request id became %q", got)
	}
	resp, body := speak(t, addr(ports.HTTP), "GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\",\"a\":\"b\r\n\r\n")
	if got := resp.Header.Get("X-Request-Id"); strings.Contains(got, "mine") || !json.Valid(body) || bytes.Contains(body, []byte("mine")) {
		t.Errorf("a bad request id came back: %q in %s", got, body)
	}

	conn, err := grpc.NewClient(addr(ports.GRPC), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.HasPrefix(s.Message(), "no gateway") {
		t.Errorf("over gRPC: %v", err)
	}
}

// speak sends text as it is and reads one answer.
func speak(t *testing.T, address, text string) (*http.Response, []byte) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprint(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}
