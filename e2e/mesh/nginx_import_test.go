//go:build real

package mesh

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
)

// NGINX passes an import both ways side by side: each line is answered before the
// next is sent, and more is sent than NGINX takes of other bodies. What is cut off
// reaches the edge as an end.
func TestRealNginxPassesImports(t *testing.T) {
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
	ended := make(chan error, 2)
	serveLines(t, ports.Edge[0].HTTP, ended)
	if err := m.writeNginx(); err != nil {
		t.Fatal(err)
	}
	p := process.New(m.nginxSpec(), m.opts.StateDir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })

	for _, cut := range []bool{false, true} {
		ctx, leave := context.WithCancel(ctx)
		body, send := io.Pipe()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost,
			fmt.Sprintf("http://127.0.0.1:%d/v1/collections/c/documents:import?verdicts=failed", ports.HTTP), body)
		if err != nil {
			t.Fatal(err)
		}
		const size = 1 << 20
		line := strings.Repeat("x", size-1) + "\n"
		go func() { _, _ = io.WriteString(send, line) }()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewScanner(resp.Body)
		const lines = 40 // more than the 32 MiB of other bodies
		for i := range lines {
			if !answers.Scan() || answers.Text() != fmt.Sprint(size-1) {
				t.Fatalf("line %d of %d is answered %q: %v", i, lines, answers.Text(), answers.Err())
			}
			if i < lines-1 {
				if _, err := io.WriteString(send, line); err != nil {
					t.Fatal(err)
				}
			}
		}
		if cut {
			_ = send.CloseWithError(context.Canceled) // and the connection with it
		}
		_ = send.Close()
		if err := <-ended; (err != nil) != cut {
			t.Errorf("cut off %v: the edge saw %v", cut, err)
		}
		leave()
		_ = resp.Body.Close()
	}
}

// serveLines answers each line of a body with its length, on the port of an edge.
func serveLines(t *testing.T, port int, ended chan<- error) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Protocols: protocols, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := bufio.NewScanner(r.Body)
		in.Buffer(nil, 2<<20)
		for in.Scan() {
			_, _ = fmt.Fprintln(w, len(in.Text()))
			_ = http.NewResponseController(w).Flush()
		}
		ended <- in.Err()
	})}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(func() { _ = server.Close() })
}
