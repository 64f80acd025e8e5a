//go:build real

package search_test

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/testkit"
)

// Whether a real cluster has analysers of its own is told by log and metric. The
// service's are used either way.
func TestRealClusterAnalysersAreTold(t *testing.T) {
	path := buildBinary(t)
	for name, c := range map[string]struct {
		node func(testing.TB) *testkit.ElasticsearchServer
		has  int
	}{
		"without": {testkit.Elasticsearch, 0},
		"with":    {testkit.ElasticsearchWithAnalysers, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBinaryOn(t, path, "sqlite://"+t.TempDir()+"/truth.db",
				fmt.Sprintf("{kind: elasticsearch, elasticsearch: {addresses: [%q]}}", c.node(t).URL))
			process := b.start()
			told := regexp.MustCompile(fmt.Sprintf(`(?m)^poterne_search_cluster_analyser\{.*language="(english|french)".*\} %d$`, c.has))
			deadline := time.After(time.Minute)
			for text := b.metrics(); len(told.FindAllString(text, -1)) != 2; text = b.metrics() {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-deadline:
					t.Fatalf("%v is not twice among\n%s", told, text)
				}
			}
			log := process.Output()
			for _, want := range []string{
				"the cluster's own analysers are not used", fmt.Sprintf("english\":%t", c.has == 1), fmt.Sprintf("french\":%t", c.has == 1),
			} {
				if !strings.Contains(log, want) {
					t.Errorf("%q is not in the log\n%s", want, log)
				}
			}
		})
	}
}

// metrics returns what the process tells.
func (b *binary) metrics() string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://"+b.ops+"/metrics", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}
