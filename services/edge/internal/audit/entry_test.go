package audit

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/explain"
)

func TestDecisionsAreBounded(t *testing.T) {
	e := NewEntry("r")
	for range explain.MaxDecisions + 3 {
		e.Decide(explain.Decision{Step: explain.Route, Detail: strings.Repeat("x", 90)})
	}
	got, dropped := e.Decisions()
	if len(got) != explain.MaxDecisions || dropped != 3 || len(got[0].Detail) != 90 {
		t.Errorf("%d decisions, %d dropped, the first detail has %d bytes", len(got), dropped, len(got[0].Detail))
	}
	var none *Entry
	none.Decide(explain.Decision{})
	if got, dropped = none.Decisions(); len(got) != 0 || dropped != 0 {
		t.Errorf("outside a request: %v, %d", got, dropped)
	}
	off := NewEntry("r")
	off.Unexplained()
	off.Decide(explain.Decision{Step: explain.Route})
	if got, _ = off.Decisions(); len(got) != 0 || off.Conclude(explain.Decision{}) != nil {
		t.Errorf("when it is off: %v", got)
	}
}
