package metering_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/services/edge/internal/metering"
)

// journal is what happened to all meters of a test, in order.
type journal []string

type meter struct {
	name   string
	refuse error
	log    *journal
}

func (m meter) Begin(context.Context, metering.Demand, func(metadata.MD) error) (metering.Hold, error) {
	*m.log = append(*m.log, m.name+" begins")
	if m.refuse != nil {
		return nil, m.refuse
	}
	return hold{m}, nil
}

type hold struct{ meter }

func (h hold) Note(metering.Use) { *h.log = append(*h.log, h.name+" notes") }

func (h hold) End(_ context.Context, err error) {
	what := " settles"
	if err != nil {
		what = " gives back"
	}
	*h.log = append(*h.log, h.name+what)
}

func TestMetersAreAskedInTheirOrder(t *testing.T) {
	var log journal
	all := metering.Meters{meter{name: "a", log: &log}, meter{name: "b", log: &log}}
	h, err := all.Begin(t.Context(), metering.Demand{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Note(metering.Use{})
	h.End(t.Context(), nil)
	want := journal{"a begins", "b begins", "a notes", "b notes", "a settles", "b settles"}
	if !slices.Equal(log, want) {
		t.Errorf("%v, want %v", log, want)
	}
}

func TestARefusalGivesBack(t *testing.T) {
	var log journal
	refused := errors.New("no more")
	all := metering.Meters{meter{name: "a", log: &log}, meter{name: "b", log: &log, refuse: refused}, meter{name: "c", log: &log}}
	if _, err := all.Begin(t.Context(), metering.Demand{}, nil); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	if want := (journal{"a begins", "b begins", "a gives back"}); !slices.Equal(log, want) {
		t.Errorf("%v, want %v", log, want)
	}
}

func TestNoMetersAdmitAll(t *testing.T) {
	h, err := metering.Meters(nil).Begin(t.Context(), metering.Demand{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.Note(metering.Use{})
	h.End(t.Context(), nil)
}
