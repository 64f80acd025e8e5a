package usage

import (
	"errors"
	"testing"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// A line of a batch that is asked again is billed once, and what each of a route's
// models did for it is.
func TestAnErrandIsBilledOnceForEachModel(t *testing.T) {
	o := newOffice(t, nil)
	ctx := authn.NewErrand(identity.NewContext(t.Context(), identity.NewCaller("acme", "ana", nil, nil)), authn.Errand{ID: "batch_1.7.0"})
	once := func(model string, out int32, err error) {
		t.Helper()
		d := chat(10, 10)
		d.Model = model
		a, refused := o.ask(ctx, d)
		if refused != nil {
			t.Fatal(refused)
		}
		a.Note(used(1, out))
		a.End(t.Context(), err)
	}
	late := errors.New("the route's time was over")
	once("big", 2, late)
	once("small", 4, nil)
	once("small", 4, nil) // its answer was lost with an edge
	if got := o.total(); got.Requests != 2 || got.Partial != 1 || got.Output != 6 {
		t.Errorf("%+v", got)
	}
	// What is done beside it is billed for each part of it.
	for _, part := range []string{"retrieval/embed", "retrieval/rerank", "retrieval/embed"} {
		d := chat(10, 10)
		d.Beside, d.Part = true, part
		a, err := o.ask(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		a.Note(used(1, 0))
		a.End(t.Context(), nil)
	}
	if got := o.total(); got.Requests != 4 {
		t.Errorf("%+v", got)
	}
	o.adds()
}
