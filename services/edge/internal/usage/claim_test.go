package usage

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/arrival"
)

// Whoever asks again just after the answer is told that it was answered, and not that
// it may be soon.
func TestAKeyIsSettledWithItsAnswer(t *testing.T) {
	o := newOffice(t, nil)
	ctx := func() context.Context {
		return arrival.OfHTTP(as(t.Context()), &http.Request{Header: http.Header{"Idempotency-Key": {"once"}}})
	}
	first, err := o.ask(ctx(), chat(10, 10))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.ask(ctx(), chat(10, 10)); err == nil || !strings.Contains(err.Error(), "not settled yet") {
		t.Errorf("in hand: %v", err)
	}
	first.Note(used(3, 4))
	first.End(t.Context(), nil) // in the journal, and not in the store
	if _, err := o.ask(ctx(), chat(10, 10)); err == nil || !strings.Contains(err.Error(), "was answered before") {
		t.Errorf("answered: %v", err)
	}
	if got := o.total(); got.Requests != 1 || got.Input != 3 || got.Output != 4 {
		t.Errorf("%+v", got)
	}
}
