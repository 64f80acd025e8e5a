package inference_test

import (
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// TestLiftQuarantine: on one worker, of one model, all versions or one with its
// variants; and nothing else there ends.
func TestLiftQuarantine(t *testing.T) {
	variant := fakes.Digest("m@v2 q8_0")
	m := newMesh(t, 2, meshOptions{}, fakes.Model("m", 3, func(s *registryv1.ModelState) {
		s.Versions[1].Variants = []*registryv1.Variant{{Name: "q8_0", Digest: variant}}
	}), fakes.Model("other", 1))
	m.awaitReady(t, "other", 2)
	quarantine := func(digests ...string) {
		t.Helper()
		for _, d := range digests {
			m.workers[0].Set(d, workerv1.ModelState_MODEL_STATE_QUARANTINED)
		}
		await(t, func() bool { return len(m.quarantined(t)) >= len(digests) })
	}
	one, two, three := fakes.VersionDigest("m", 1), fakes.VersionDigest("m", 2), fakes.VersionDigest("m", 3)
	lift := func(worker, model string) ([]string, error) {
		resp, err := m.client.LiftQuarantine(operator(t), &inferencev1.LiftQuarantineRequest{WorkerId: worker, Model: model})
		var digests []string
		for _, l := range resp.GetLifted() {
			if l.GetModel() != "m" || l.GetVersion() < 1 {
				t.Errorf("lifted %v", l)
			}
			digests = append(digests, l.GetDigest())
		}
		return digests, err
	}
	sorted := func(digests ...string) []string { return slices.Sorted(slices.Values(digests)) }

	quarantine(one, two, variant, three)
	if got, err := lift("a", "m@v2"); err != nil || !slices.Equal(got, sorted(two, variant)) {
		t.Errorf("one version: %v, %v", got, err)
	}
	await(t, func() bool { return len(m.quarantined(t)) == 2 })
	if got, err := lift("a", "m"); err != nil || !slices.Equal(got, sorted(one, three)) {
		t.Errorf("all versions: %v, %v", got, err)
	}
	await(t, func() bool { return len(m.quarantined(t)) == 0 })
	if n := len(m.workers[0].Unloads()); n != 0 {
		t.Errorf("%d were unloaded", n)
	}
	for _, tt := range []struct {
		worker, model string
		want          apierr.Reason
		field         string
	}{
		{"a", "m", apierr.FailedPrecondition, "model"},
		{"a", "other", apierr.FailedPrecondition, "model"}, // it is loaded, and stays so
		{"zzz", "m", apierr.NotFound, "worker_id"},
		{"a", "zzz", apierr.ModelNotFound, "model"},
		{"a", "m@v9", apierr.ModelNotFound, "model"},
		{"a", "m@@", apierr.InvalidArgument, "model"},
		{"", "m", apierr.InvalidArgument, "worker_id"},
	} {
		_, err := lift(tt.worker, tt.model)
		wantReason(t, err, tt.want, tt.field)
	}
	m.awaitReady(t, "other", 2)
	m.workers[1].Kill()
	await(t, func() bool {
		_, err := lift("b", "m")
		return apierr.ReasonOf(err) == apierr.Unavailable
	})
}

// await waits until what is asked for is so.
func await(t *testing.T, so func() bool) {
	t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it did not happen")
		}
	}
}

// quarantined are the digests that the service sees in quarantine.
func (m *mesh) quarantined(t *testing.T) []string {
	t.Helper()
	resp, err := m.client.ListWorkers(operator(t), &inferencev1.ListWorkersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, w := range resp.GetWorkers() {
		for _, l := range w.GetState().GetModels() {
			if l.GetState() == workerv1.ModelState_MODEL_STATE_QUARANTINED {
				out = append(out, l.GetDigest())
			}
		}
	}
	return out
}
