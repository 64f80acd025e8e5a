package requestid_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/requestid"
)

func TestContext(t *testing.T) {
	if got := requestid.FromContext(t.Context()); got != "" {
		t.Fatalf("got %q from an empty context", got)
	}
	if got := requestid.FromContext(requestid.NewContext(t.Context(), "r-1")); got != "r-1" {
		t.Fatalf("got %q", got)
	}
}

func FuzzValid(f *testing.F) {
	for _, s := range []string{"", "a", "A-1._z", "a b", "é", "a\n", strings.Repeat("x", 128), strings.Repeat("x", 129), "a\x00"} {
		f.Add(s)
	}
	want := regexp.MustCompile(`\A[A-Za-z0-9._-]{1,128}\z`)
	f.Fuzz(func(t *testing.T, s string) {
		if got := requestid.Valid(s); got != want.MatchString(s) {
			t.Fatalf("Valid(%q) = %v", s, got)
		}
	})
}

func TestAPlaceIsFilledOnce(t *testing.T) {
	outer := requestid.NewContext(t.Context(), "outer")
	ctx, h := requestid.Hold(outer)
	if got := requestid.FromContext(ctx); got != "outer" || h.ID() != "" {
		t.Errorf("an empty place: %q, %q", got, h.ID())
	}
	if again, same := requestid.Hold(ctx); again != ctx || same != h {
		t.Error("a place that is empty was not used")
	}
	type other struct{}
	inner, cancel := context.WithCancel(context.WithValue(ctx, other{}, 1))
	defer cancel()
	ctx = requestid.Fill(inner, "a")
	if got := requestid.FromContext(ctx); got != "a" || h.ID() != "a" || ctx != inner || ctx.Value(other{}) != 1 {
		t.Errorf("filled: %q, %q", got, h.ID())
	}
	if got := requestid.FromContext(requestid.Fill(ctx, "b")); got != "b" || requestid.FromContext(ctx) != "a" {
		t.Errorf("a second: %q, %q", got, requestid.FromContext(ctx))
	}
	if again, other := requestid.Hold(ctx); again == ctx || other == h || requestid.FromContext(again) != "a" {
		t.Error("a place that is taken was used again")
	}
	if got := requestid.FromContext(requestid.Fill(t.Context(), "c")); got != "c" {
		t.Errorf("without a place: %q", got)
	}
}
