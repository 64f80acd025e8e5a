package worker_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Engines are batch work to the system's scheduler unless the operator says otherwise.
func TestEnginesAreBatchWork(t *testing.T) {
	for batch, want := range map[bool]string{true: "3", false: "0"} { // SCHED_BATCH, SCHED_OTHER
		t.Run(fmt.Sprint(batch), func(t *testing.T) {
			cfg := testConfig(t)
			if !cfg.Engines.Batch {
				t.Fatal("it is not the default")
			}
			cfg.Engines.Batch = batch
			r := run(t, cfg)
			r.load("a", simSpec(nil))
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
			if got := strings.Fields(after)[policyField]; got != want {
				t.Errorf("policy %s, want %s", got, want)
			}
		})
	}
}
