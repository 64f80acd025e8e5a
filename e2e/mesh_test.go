//go:build real

package e2e

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
)

func startMesh(t *testing.T, engine string, env ...string) (*mesh.Mesh, scenario.Target) {
	t.Helper()
	return startMeshWith(t, engine, nil, env...)
}

// startMeshWith has settings for the edges besides those for all.
func startMeshWith(t *testing.T, engine string, edges []string, env ...string) (*mesh.Mesh, scenario.Target) {
	t.Helper()
	parts, err := mesh.PartsFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := mesh.FreePorts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	state := enterableDir(t)
	m, err := mesh.Up(ctx, mesh.Options{
		Root: root, BinDir: binDir(t), StateDir: state, Parts: parts, Ports: ports, Engine: engine,
		Env: env,
		// The load of one key in these tests is no person's.
		EdgeEnv: append([]string{"POTERNE_LIMITS_REQUESTS_PER_MINUTE=600000"}, edges...),
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		logs, _ := filepath.Glob(filepath.Join(state, "log", "*.log"))
		for _, l := range logs {
			logTail(t, l)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Down(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, p := range m.Processes() {
				logTail(t, p.LogPath())
			}
		}
	})
	key, err := m.AdminKey()
	if err != nil {
		t.Fatal(err)
	}
	return m, scenario.Target{
		URL: m.URL(), GRPCAddr: m.GRPCAddr(), AdminKey: key,
		ChatModel: m.ChatModel(), EmbeddingModel: m.EmbeddingModel(), Dimensions: 384,
	}
}

// enterableDir is a directory for a test that other users may enter, which
// PostgreSQL and NGINX run as; t.TempDir's may not be entered.
func enterableDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "poterne-mesh-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRealMesh runs the scenarios against separate processes with real models.
func TestRealMesh(t *testing.T) {
	_, g := startMesh(t, mesh.EngineReal)
	t.Run("openai", func(t *testing.T) { scenario.OpenAI(t, g) })
	t.Run("search", func(t *testing.T) { scenario.Search(t, g) })
	t.Run("keys", func(t *testing.T) { scenario.Keys(t, g) })
	t.Run("tokens", func(t *testing.T) { scenario.Tokens(t, g) })
	t.Run("audit", func(t *testing.T) { scenario.Audit(t, g) })
	t.Run("registry", func(t *testing.T) { scenario.Registry(t, g) })
	t.Run("variants", func(t *testing.T) { scenario.Variants(t, g) })
	t.Run("openai sdk", func(t *testing.T) { scenario.PythonSDK(t, g, "sdk/check_openai.py") })
	t.Run("anthropic sdk", func(t *testing.T) { scenario.PythonSDK(t, g, "sdk/check_anthropic.py") })
	t.Run("model context protocol", func(t *testing.T) { scenario.MCP(t, g) })
	t.Run("openai sdk on node", func(t *testing.T) { scenario.NodeSDK(t, g, "sdk/check_openai.mjs") })
	t.Run("anthropic sdk on node", func(t *testing.T) { scenario.NodeSDK(t, g, "sdk/check_anthropic.mjs") })
	t.Run("grpcurl", func(t *testing.T) { scenario.GRPCurl(t, g) })
}

// TestRealMeshFailures kills a process of each kind in turn under a steady load
// of chat. Nothing may fail but the streams that had begun on the killed
// process, these end within a second, and the process takes traffic again when
// it is started again.
func TestRealMeshFailures(t *testing.T) {
	m, g := startMesh(t, mesh.EngineSim)
	t.Run("sticky sessions", func(t *testing.T) { scenario.Sticky(t, g) })
	cut := 0
	defer func() {
		if cut == 0 {
			t.Error("no kill met a stream that had begun: the test saw nothing of what it is for")
		}
	}()
	for _, name := range []string{"edge-1", "inference-1", "worker-1", "consul", "edge-2", "inference-2", "worker-2"} {
		t.Run(name, func(t *testing.T) { cut += killUnderLoad(t, m, g, name) })
	}
	// What was killed and cut were streams past HTTP/2, and are so again.
	for _, name := range []string{"edge-1", "edge-2", "inference-1", "inference-2"} {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		if err := m.WaitDirect(ctx, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stop()
	}
}

// errorWithin is how soon a stream on a killed process must have ended.
const errorWithin = time.Second

// killUnderLoad returns how many streams the kill cut.
func killUnderLoad(t *testing.T, m *mesh.Mesh, g scenario.Target, name string) int {
	p := m.Process(name)
	load := g.StartLoad(t.Context(), 16, 24)
	waitAnswered(t, load, 20)
	waitSpeaking(t, load, 5)
	killed := time.Now()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	waitAnswered(t, load, 60)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitServing(ctx); err != nil {
		t.Error(err)
	}
	waitTraffic(t, m, name)
	waitAnswered(t, load, 40)

	edge := name == "edge-1" || name == "edge-2"
	whole, cut := 0, 0
	for _, o := range load.Stop() {
		switch {
		case o.Err == "":
			whole++
		case o.Streamed && o.Chunks > 0 && o.Began.Before(killed) && o.Ended.After(killed):
			cut++
			if late := o.Ended.Sub(killed); late > errorWithin {
				t.Errorf("a stream on %s ended %v after the kill: %s", name, late, o.Err)
			}
			// A killed edge cannot speak; its clients see the connection break.
			if !edge && !o.Typed {
				t.Errorf("a stream on %s ended without a typed error: %s", name, o.Err)
			}
		default:
			t.Errorf("a chat failed that had not begun on %s: %+v", name, o)
		}
	}
	t.Logf("%s: %d answered whole, %d streams cut", name, whole, cut)
	if name == "consul" && cut > 0 {
		t.Errorf("%d streams were cut by the loss of Consul", cut)
	}
	return cut
}

// waitSpeaking waits until so many streams are between their first chunk and
// their end.
func waitSpeaking(t *testing.T, load *scenario.Load, streams int64) {
	t.Helper()
	waitFor(t, func() bool { return load.Speaking() >= streams })
}

func waitAnswered(t *testing.T, load *scenario.Load, more int64) {
	t.Helper()
	want := load.Answered() + more
	waitFor(t, func() bool { return load.Answered() >= want })
}

func waitFor(t *testing.T, reached func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the load did not get there within a minute")
		}
	}
}

// waitTraffic waits until a restarted process has served calls, by its own
// metrics.
func waitTraffic(t *testing.T, m *mesh.Mesh, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := m.WaitTraffic(ctx, name); err != nil {
		t.Errorf("%s takes no traffic after its restart: %v", name, err)
	}
}
