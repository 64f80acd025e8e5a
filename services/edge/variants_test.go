package edge_test

import (
	"testing"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// TestVariantHeaders holds that every kind of answer says which variant it is of,
// where there are several, and why.
func TestVariantHeaders(t *testing.T) {
	g := open(t, nil)
	paths := map[string][2]string{
		"chat":       {chatPath, hi},
		"a stream":   {chatPath, streamed},
		"completion": {"/v1/completions", `{"model":"small","prompt":"Hi"}`},
		"embeddings": {"/v1/embeddings", `{"model":"small","input":"Hi"}`},
		"tensors":    {"/v2/models/small/infer", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`},
	}
	for name, by := range map[string]struct {
		served                    *inferencev1.ServedBy
		variant, reason, recorded string
	}{
		"one form only": {served: &inferencev1.ServedBy{}, recorded: "small@v3"},
		"the best":      {served: &inferencev1.ServedBy{Variant: "base"}, variant: "base", recorded: "small@v3"},
		"what fits": {
			served:  &inferencev1.ServedBy{Variant: "q4_k_m", VariantReason: inferencev1.VariantReason_VARIANT_REASON_PLACEMENT},
			variant: "q4_k_m", reason: "placement", recorded: "small@v3 q4_k_m",
		},
		"what has room": {
			served:  &inferencev1.ServedBy{Variant: "q8_0", VariantReason: inferencev1.VariantReason_VARIANT_REASON_SATURATION},
			variant: "q8_0", reason: "saturation", recorded: "small@v3 q8_0",
		},
	} {
		by.served.Model, by.served.Version = "small", 3
		g.inference.by = by.served
		for kind, ask := range paths {
			a := g.do("POST", ask[0], ask[1], "X-Request-Id", "r")
			if got := a.header.Get("X-Poterne-Variant"); a.status != 200 || got != by.variant {
				t.Errorf("%s, %s: %d, the variant is %q", name, kind, a.status, got)
			}
			if got := a.header.Get("X-Poterne-Variant-Reason"); got != by.reason {
				t.Errorf("%s, %s: the reason is %q", name, kind, got)
			}
			rec := g.do("GET", "/v1/admin/audit?page_size=1&request_id=r", "").at("records", 0)
			if at(rec, "served_by") != by.recorded {
				t.Errorf("%s, %s: recorded as %v", name, kind, at(rec, "served_by"))
			}
		}
	}
}

// TestModelsSayWhatIsWrong holds that a model's card says why it is not where it
// should be, and in which forms it can be loaded, and nothing where there is
// nothing to say.
func TestModelsSayWhatIsWrong(t *testing.T) {
	g := open(t, nil)
	if a := g.do("GET", "/v1/models/small", ""); a.status != 200 || a.json["placement_problem"] != nil || a.json["variants"] != nil {
		t.Errorf("without either: %s", a.text)
	}
	loss := 0.02
	g.inference.mu.Lock() // the edge looks at the models by itself, too
	g.inference.placementProblem = "w1: it needs 9 GiB and 4 GiB are free"
	g.inference.variants = []*inferencev1.ServedVariant{
		{Name: "base", Digest: "sha256:0", SizeBytes: 8 << 30, Allowed: true, PlacementProblem: "w1: it does not fit"},
		{Name: "q4_k_m", Digest: "sha256:4", SizeBytes: 2 << 30, Allowed: true, Loss: &loss, ReadyWorkers: 2},
	}
	g.inference.mu.Unlock()
	for path, card := range map[string][]any{"/v1/models": {"data", 0}, "/v1/models/small": nil} {
		a := g.do("GET", path, "")
		m := a.at(card...)
		if at(m, "placement_problem") != g.inference.placementProblem || at(m, "variants", 1, "name") != "q4_k_m" ||
			at(m, "variants", 1, "loss") != loss || at(m, "variants", 1, "ready_workers") != 2.0 ||
			at(m, "variants", 0, "size_bytes") != float64(8<<30) || at(m, "variants", 0, "placement_problem") != "w1: it does not fit" {
			t.Errorf("%s: %s", path, a.text)
		}
		if base, ok := at(m, "variants", 0).(map[string]any); !ok || base["loss"] != nil {
			t.Errorf("%s: a loss that was not measured: %s", path, a.text)
		}
	}
}
