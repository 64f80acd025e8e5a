package worker_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/worker"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// Engines are batch work to the system's scheduler unless they feed a GPU, or the
// operator says otherwise.
func TestEnginesAreBatchWork(t *testing.T) {
	const other, batch = "0", "3" // SCHED_OTHER, SCHED_BATCH
	for name, test := range map[string]struct {
		batch      bool
		parameters map[string]string
		want       string
	}{
		"by default":      {true, nil, batch},
		"with a GPU":      {true, map[string]string{"gpu-memory": "1073741824"}, other},
		"when turned off": {false, nil, other},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			if !cfg.Engines.Batch {
				t.Fatal("it is not the default")
			}
			cfg.Engines.Batch = test.batch
			r := run(t, cfg, worker.WithGPUs(gpu.NewScripted(gpu.H100(0))))
			r.load("a", simSpec(test.parameters))
			pids := r.enginePIDs()
			if len(pids) != 1 {
				t.Fatalf("engines %v", pids)
			}
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pids[0]))
			if err != nil {
				t.Fatal(err)
			}
			_, after, _ := strings.Cut(string(stat), ") ")
			const policyField = 38 // after the name
			if got := strings.Fields(after)[policyField]; got != test.want {
				t.Errorf("policy %s, want %s", got, test.want)
			}
		})
	}
}
