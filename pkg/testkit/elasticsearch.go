package testkit

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// EnvElasticsearch says where Elasticsearch is unpacked.
const EnvElasticsearch = "POTERNE_ELASTICSEARCH_HOME"

// ElasticsearchServer is a running Elasticsearch node without security.
type ElasticsearchServer struct {
	*Process
	// URL is the address of its HTTP API.
	URL string
}

// Elasticsearch starts a node of its own, with 512 MB of heap. As root it runs
// as the user nobody, from a copy: that user may not be able to enter the
// directory where the node is unpacked. It is ready when its cluster is.
func Elasticsearch(tb testing.TB) *ElasticsearchServer {
	tb.Helper()
	return startElasticsearch(tb, "http", func(string) error { return nil }, bareReady)
}

// bareReady waits for the cluster of a node that lets everybody in.
func bareReady(url string) func(context.Context) error {
	return ReadyHTTP(url + "/_cluster/health?wait_for_status=yellow&timeout=1s")
}

// startElasticsearch starts a node whose directory configure changes before.
func startElasticsearch(tb testing.TB, scheme string, configure func(dir string) error, ready func(url string) func(context.Context) error) *ElasticsearchServer {
	tb.Helper()
	const owner = "nobody"
	home, err := os.UserHomeDir()
	if err != nil {
		tb.Fatalf("elasticsearch: %v", err)
	}
	unpacked := Binary(tb, EnvElasticsearch, []string{"elasticsearch"},
		filepath.Join(home, ".cache", "poterne", "elasticsearch", "*"))
	dir, err := os.MkdirTemp("", "poterne-elasticsearch-") //nolint:usetesting // the owner cannot enter TempDir's parents
	if err != nil {
		tb.Fatalf("elasticsearch: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	ports := FreePorts(tb, 2)
	if err := LayOutElasticsearch(unpacked, dir, owner, ports); err != nil {
		tb.Fatalf("elasticsearch: %v", err)
	}
	if err := configure(dir); err != nil {
		tb.Fatalf("elasticsearch: %v", err)
	}
	if err := giveAllTo(owner, dir); err != nil {
		tb.Fatalf("elasticsearch: %v", err)
	}
	url := scheme + "://" + Loopback(ports[0])
	p := Start(tb, Command{
		Name: "elasticsearch", Path: filepath.Join(dir, "bin", "elasticsearch"), User: owner, Dir: dir,
		Env:   ElasticsearchEnv(dir, "512m"),
		Ready: ready(url),
	})
	return &ElasticsearchServer{Process: p, URL: url}
}

// ElasticsearchEnv is the environment of a node that was laid out in dir, with
// that much heap.
func ElasticsearchEnv(dir, heap string) []string {
	return []string{
		"HOME=" + dir, "ES_JAVA_OPTS=-Xms" + heap + " -Xmx" + heap, "ES_TMPDIR=" + filepath.Join(dir, "tmp"),
		"ES_JAVA_HOME=" + javaHome(), "ES_PATH_CONF=" + filepath.Join(dir, "config"),
	}
}

// LayOutElasticsearch copies the node that is unpacked somewhere into dir, has it
// listen on the two loopback ports (HTTP and transport), and gives it to its
// owner when this process is root's.
func LayOutElasticsearch(unpacked, dir, owner string, ports []int) error {
	if out, err := exec.Command("cp", "-R", unpacked+"/.", dir).CombinedOutput(); err != nil { //nolint:noctx // a copy on this disk
		return fmt.Errorf("copy the node: %w: %s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o700); err != nil {
		return err
	}
	settings := fmt.Sprintf(`discovery.type: single-node
xpack.security.enabled: false
network.host: 127.0.0.1
http.port: %d
transport.port: %d
cluster.routing.allocation.disk.threshold_enabled: false
path.data: %s
path.logs: %s
`, ports[0], ports[1], filepath.Join(dir, "data"), filepath.Join(dir, "logs"))
	if err := os.WriteFile(filepath.Join(dir, "config", "elasticsearch.yml"), []byte(settings), 0o600); err != nil {
		return err
	}
	return giveAllTo(owner, dir)
}

// giveAllTo gives a directory and what is in it to the owner when this process
// is root's.
func giveAllTo(owner, dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return giveTo(owner, path)
	})
}

// javaHome returns the home of the java in PATH: the bare node brings none.
func javaHome() string {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return home
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return ""
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	return filepath.Dir(filepath.Dir(path))
}
