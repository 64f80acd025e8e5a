package testkit_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestFreePortsAreDifferentAndFree(t *testing.T) {
	seen := map[int]bool{}
	for _, port := range testkit.FreePorts(t, 20) {
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		seen[port] = true
		var lc net.ListenConfig
		lis, err := lc.Listen(t.Context(), "tcp", testkit.Loopback(port))
		if err != nil {
			t.Fatal(err)
		}
		_ = lis.Close()
	}
}

// recorder is a testing.TB that notes a failure instead of failing.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper()          {}
func (r *recorder) Cleanup(f func()) { r.TB.Cleanup(f) }
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = strings.Join([]string{format, "failed"}, " ")
	panic(r) // as FailNow, it does not return
}

func failure(t *testing.T, fn func(tb testing.TB)) (failed bool) {
	t.Helper()
	r := &recorder{TB: t}
	defer func() {
		if v := recover(); v != nil && v != any(r) {
			panic(v)
		}
		failed = r.failed != ""
	}()
	fn(r)
	return false
}

func shell(script string, ready func(context.Context) error) testkit.Command {
	return testkit.Command{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}, Ready: ready}
}

func TestProcess(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	p := testkit.Start(t, shell("echo hello; touch "+mark+"; exec sleep 1000", func(context.Context) error {
		_, err := os.Stat(mark)
		return err
	}))
	if err := syscall.Kill(p.PID(), 0); err != nil {
		t.Fatalf("it does not run: %v", err)
	}
	p.Stop()
	p.Stop()
	if code := p.ExitCode(); code != -1 {
		t.Fatalf("exit code %d after a signal", code)
	}
	if !strings.Contains(p.Output(), "hello") {
		t.Fatalf("output %q", p.Output())
	}
	if code := testkit.Start(t, shell("exit 7", nil)).ExitCode(); code != 7 {
		t.Fatalf("exit code %d", code)
	}
	p = testkit.Start(t, shell("exec sleep 1000", nil))
	p.Kill()
	if _, err := os.Stat("/proc/self"); err == nil {
		if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
			t.Fatalf("it still runs: %v", err)
		}
	}
}

func TestProcessThatEndsBeforeItIsReady(t *testing.T) {
	never := func(context.Context) error { return errors.New("not yet") }
	if !failure(t, func(tb testing.TB) { tb.Helper(); testkit.Start(tb, shell("echo broken; exit 3", never)) }) {
		t.Fatal("the test must fail")
	}
}

func TestMissingProgramFails(t *testing.T) {
	if !failure(t, func(tb testing.TB) {
		tb.Helper()
		testkit.Binary(tb, "POTERNE_NO_SUCH_BIN", []string{"no-such-program"})
	}) {
		t.Fatal("a missing server must fail the test")
	}
	t.Setenv("POTERNE_NO_SUCH_BIN", "/no/such/file")
	if !failure(t, func(tb testing.TB) { tb.Helper(); testkit.Binary(tb, "POTERNE_NO_SUCH_BIN", []string{"sh"}) }) {
		t.Fatal("a wrong path must fail the test")
	}
}

func TestReadyHTTP(t *testing.T) {
	code := http.StatusServiceUnavailable
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
	defer srv.Close()
	ready := testkit.ReadyHTTP(srv.URL)
	if err := ready(t.Context()); err == nil {
		t.Fatal("503 is not ready")
	}
	code = http.StatusOK
	if err := ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
