package obligation_test

import (
	"testing"

	"github.com/poterne/poterne/services/edge/internal/obligation"
)

func TestNoted(t *testing.T) {
	if obligation.Note(t.Context(), obligation.Set{Redact: true}) || obligation.From(t.Context()) != (obligation.Set{}) {
		t.Error("noted where there is no place")
	}
	ctx := obligation.NewContext(t.Context())
	if obligation.From(ctx) != (obligation.Set{}) {
		t.Error("something before anything was noted")
	}
	want := obligation.Set{MaxTokens: 5, Model: "small", Review: true}
	if !obligation.Note(ctx, want) || obligation.From(ctx) != want {
		t.Errorf("%+v", obligation.From(ctx))
	}
}
