package authn

import "testing"

func TestErrand(t *testing.T) {
	if e, ok := ErrandFrom(t.Context()); ok {
		t.Errorf("out of nowhere: %+v", e)
	}
	if e, ok := ErrandFrom(NewErrand(t.Context(), Errand{ID: "b.1"})); !ok || e.ID != "b.1" {
		t.Errorf("%+v, %v", e, ok)
	}
}
