package usage

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// A price of a model or a version that is not known is set, and says so.
func TestAPriceOfNothingSaysSo(t *testing.T) {
	o := newOffice(t, nil)
	s := NewServer(o.Usage, ServerDeps{
		Log: slog.New(slog.DiscardHandler), Task: func(reference string) (commonv1.Task, bool) {
			return commonv1.Task_TASK_CHAT, slices.Contains([]string{"chat", "chat@v3"}, reference)
		},
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
}

// What is removed of nothing says so; what was set for a model that is gone is removed in
// silence.
func TestAPriceThatRemovesNothingSaysSo(t *testing.T) {
	o := newOffice(t, nil)
	s := NewServer(o.Usage, ServerDeps{
		Log: slog.New(slog.DiscardHandler), Task: func(reference string) (commonv1.Task, bool) { return commonv1.Task_TASK_CHAT, reference == "chat" },
	})
	o.price("chat", price.Rates{Input: 1, Output: 1})
	o.price("gone", price.Rates{Input: 1, Output: 1})
	for n, c := range []struct{ model, variant, want string }{
		{"chat", "", ""},
		{"gone", "", ""},
		{"chat", "", `"chat" has no price of its own before then: nothing is removed`}, // it was just removed
		{"chat", "q4", `the variant "q4" of "chat" has no price of its own`},
		{"*", "", `"*" has no price of its own before then: nothing is removed`},
		{"chatt", "", `nothing is removed, and there is no model or version "chatt" now`},
	} {
		o.clock.now = o.clock.now.Add(time.Second)
		out, err := s.SetPrice(as(t.Context()), &edgev1.SetPriceRequest{Price: &edgev1.Price{Model: c.model, Variant: c.variant, Removed: true}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out.GetWarnings(), "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%d, %s: %q, want %q", n, c.model, got, c.want)
		}
	}
}

// A price that leaves out what its model is for says what it makes free.
func TestAPriceThatMakesFreeSaysSo(t *testing.T) {
	o := newOffice(t, nil)
	tasks := map[string]commonv1.Task{
		"chat": commonv1.Task_TASK_CHAT, "embed": commonv1.Task_TASK_EMBEDDING, "rank": commonv1.Task_TASK_RERANK, "net": commonv1.Task_TASK_TENSOR,
	}
	s := NewServer(o.Usage, ServerDeps{
		Log: slog.New(slog.DiscardHandler), Task: func(reference string) (commonv1.Task, bool) { task, ok := tasks[reference]; return task, ok },
	})
	for n, c := range []struct {
		model string
		rates *edgev1.PriceRates
		want  string
	}{
		{"chat", &edgev1.PriceRates{Input: 1, Output: 2}, ""},
		{"chat", &edgev1.PriceRates{Input: 1}, `output of "chat" cost nothing`},
		{"chat", &edgev1.PriceRates{Embedding: 1}, `input and output of "chat" cost nothing`},
		{"chat", &edgev1.PriceRates{Request: 1}, ""},
		{"chat", &edgev1.PriceRates{}, ""}, // on purpose
		{"embed", &edgev1.PriceRates{Input: 1}, `embedding of "embed" cost nothing`},
		{"embed", &edgev1.PriceRates{Embedding: 1}, ""},
		{"rank", &edgev1.PriceRates{Input: 1}, `rerank and document of "rank" cost nothing`},
		{"rank", &edgev1.PriceRates{Document: 1}, ""},
		{"net", &edgev1.PriceRates{Input: 1}, ""},
		{"*", &edgev1.PriceRates{Input: 1}, ""},
	} {
		out, err := s.SetPrice(as(t.Context()), &edgev1.SetPriceRequest{Price: &edgev1.Price{
			Model: c.model, Rates: c.rates, ValidFrom: timestamppb.New(o.clock.Now().Add(time.Duration(n) * time.Second)),
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(out.GetWarnings(), "; "); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s, %v: %q, want %q", c.model, c.rates, got, c.want)
		}
	}
}
