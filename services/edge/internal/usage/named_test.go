package usage

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// A price of a model or a version that is not known is set, and says so.
func TestAPriceOfNothingSaysSo(t *testing.T) {
	o := newOffice(t, nil)
	s := NewServer(o.Usage, ServerDeps{
		Log: slog.New(slog.DiscardHandler), Model: func(reference string) bool { return slices.Contains([]string{"chat", "chat@v3"}, reference) },
	})
	for model, want := range map[string]string{
		"chat": "", "chat@v3": "", "*": "", "sha256:" + strings.Repeat("0", 64): "",
		"chatt": `no model "chatt" now`, "chatt@v3": `no model "chatt" now`, "chat@v4": `"chat" has no version 4 now`,
	} {
		out, err := s.SetPrice(as(t.Context()), &edgev1.SetPriceRequest{Price: &edgev1.Price{Model: model, Rates: new(edgev1.PriceRates)}})
		if err != nil {
			t.Fatal(err)
		}
		got := out.GetWarnings()
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("%s: %q", model, got)
		}
	}
	out, err := s.SetPrice(as(t.Context()), &edgev1.SetPriceRequest{Price: &edgev1.Price{Model: "gone", Removed: true}})
	if err != nil || len(out.GetWarnings()) > 0 {
		t.Errorf("of one that is removed: %v, %v", out, err)
	}
}
