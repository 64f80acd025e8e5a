//go:build real

package edge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// program is poterne-edge as it is shipped, on ports of its own.
type program struct {
	*testkit.Process
	http, grpc, ops, dir string
}

// startProgram starts poterne-edge with the defaults and env, and returns once it
// listens.
func startProgram(t *testing.T, env ...string) program {
	t.Helper()
	ports := testkit.FreePorts(t, 3)
	p := program{http: testkit.Loopback(ports[0]), grpc: testkit.Loopback(ports[1]), ops: testkit.Loopback(ports[2]), dir: t.TempDir()}
	p.Process = testkit.Start(t, testkit.Command{
		Name: "poterne-edge", Path: filepath.Join(os.Getenv("POTERNE_BIN_DIR"), "poterne-edge"),
		Env: append([]string{
			"POTERNE_DATA_DIR=" + p.dir, "POTERNE_HTTP_ADDR=" + p.http, "POTERNE_GRPC_ADDR=" + p.grpc, "POTERNE_TELEMETRY_OPS_ADDR=" + p.ops,
		}, env...),
		Ready: testkit.ReadyTCP(p.http),
	})
	return p
}

// key is the first administrator's.
func (p program) key(t *testing.T) string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(p.dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(key))
}

// resident returns the size of the program's resident set, and how much of it is
// its own and not a file's, in KiB (proc(5), status).
func (p program) resident(t *testing.T) (all, own int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) int {
		_, rest, _ := strings.Cut(string(status), "\n"+name+":")
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			t.Fatalf("%s is not told", name)
		}
		n, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return read("VmRSS"), read("RssAnon")
}

// The edge, with its defaults and nobody asking, has at most 35 MB resident, and
// listens within 0.3 s of its start.
func TestRealIdleFootprint(t *testing.T) {
	var quickest time.Duration
	for range 5 { // other work on this machine makes some of them slow
		began := time.Now()
		p := startProgram(t)
		took := time.Since(began)
		if p.Stop(); quickest == 0 || took < quickest {
			quickest = took
		}
	}
	p := startProgram(t)
	<-time.After(11 * time.Second)
	var sizes []int
	own := 0
	for range 20 {
		<-time.After(700 * time.Millisecond)
		all, mine := p.resident(t)
		sizes, own = append(sizes, all), max(own, mine)
	}
	slices.Sort(sizes)
	middle := sizes[len(sizes)/2]
	t.Logf("listens after %v; %d KiB resident (%d to %d), of which its own are %d at most", quickest, middle, sizes[0], sizes[len(sizes)-1], own)
	if quickest > 300*time.Millisecond {
		t.Errorf("it listens %v after its start", quickest)
	}
	if middle > 35_000_000>>10 || own > 18<<10 {
		t.Errorf("%d KiB are resident, %d of them its own", middle, own)
	}
}
