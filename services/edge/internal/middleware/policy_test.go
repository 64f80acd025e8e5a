package middleware

import (
	"strings"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// TestRecordsNameTheRule: the trail says by which policy and rule a request was
// allowed, and by which policy one was refused; the caller is not told.
func TestRecordsNameTheRule(t *testing.T) {
	g := newGate(t, DefaultConfig(), nil)
	if _, err := g.openai.ListModels(as(t.Context(), "dev"), &edgev1.ListModelsRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := g.admin.ListWorkers(as(t.Context(), "dev"), &edgev1.ListWorkersRequest{})
	if err == nil || strings.Contains(err.Error(), "base") {
		t.Errorf("refused with %v", err)
	}
	records := g.records(t)
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	if r := records[0]; !strings.HasPrefix(r.Policy, "base@") || !strings.HasPrefix(r.Rule, "base/") {
		t.Errorf("allowed by %q of %q", r.Rule, r.Policy)
	}
	if r := records[1]; !strings.HasPrefix(r.Policy, "base@") || r.Rule != "" {
		t.Errorf("refused by %q of %q", r.Rule, r.Policy)
	}
}
