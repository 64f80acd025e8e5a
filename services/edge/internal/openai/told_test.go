package openai

import (
	"fmt"
	"testing"

	"google.golang.org/grpc/metadata"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// What is kept of who answers is told of that alone, whatever was told before.
func TestWhatIsToldAgain(t *testing.T) {
	var kept told
	all := []*inferencev1.ServedBy{
		{},
		{Model: "a", Version: 1},
		{Model: "b", Version: 1},
		{Model: "a", Version: 17},
		{Model: "a", Version: 1, Arm: "x"},
		{Model: "a", Version: 1, Arm: "x", Experiment: "e"},
		{Model: "a", Version: 1, Variant: "base"},
		{Model: "a", Version: 1, Variant: "q4"},
		{Model: "a", Version: 1, Variant: "q4", VariantReason: inferencev1.VariantReason_VARIANT_REASON_SATURATION},
		{Model: "a", Version: 1, Prompt: "p"},
		{Model: "a", Version: 1, Prompt: "p", PromptVersion: 2},
	}
	for range 2 {
		for _, by := range all {
			once, again := kept.by(by), kept.by(by)
			if once != again {
				t.Error("it is made again")
			}
			want := naming(namesOf(by), by, metadata.MD{HeaderCache: {cacheBypass}})
			if fmt.Sprint(map[string][]string(again.md)) != fmt.Sprint(map[string][]string(want)) || again.names != namesOf(by) {
				t.Errorf("of %v is told %v, %+v", by, again.md, again.names)
			}
		}
	}
}

func BenchmarkWhatIsTold(b *testing.B) {
	by := &inferencev1.ServedBy{Model: "small", Version: 3, Variant: "base", WorkerId: "w"}
	b.Run("again", func(b *testing.B) {
		var kept told
		b.ReportAllocs()
		for b.Loop() {
			kept.by(by)
		}
	})
	b.Run("anew", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			new(told).by(by)
		}
	})
}
