package usage

import (
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// A price whose time has not come is replaced and taken back; one that holds is neither,
// and what was billed by it stays.
func TestAPriceToComeIsCorrected(t *testing.T) {
	o := newOffice(t, nil)
	s := NewServer(o.Usage, ServerDeps{
		Log: slog.New(slog.DiscardHandler), Task: func(string) (commonv1.Task, bool) { return commonv1.Task_TASK_CHAT, true },
	})
	o.price("chat", price.Rates{Input: 1_000_000, Output: 1_000_000})
	start := o.clock.now.Add(time.Hour)
	set := func(rate int64) (*edgev1.Price, error) {
		out, err := s.SetPrice(as(t.Context()), &edgev1.SetPriceRequest{Price: &edgev1.Price{
			Model: "chat", Rates: &edgev1.PriceRates{Input: rate, Output: rate}, ValidFrom: timestamppb.New(start),
		}})
		return out.GetPrice(), err
	}
	costs := func(want int64) {
		t.Helper()
		before := o.total().Cost
		a := o.must(chat(10, 10))
		a.Note(used(1, 0))
		a.End(t.Context(), nil)
		if got := o.total().Cost - before; got != want {
			t.Errorf("a token costs %d, want %d", got, want)
		}
	}
	slip, err := set(7_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set(2_000_000); err != nil {
		t.Fatalf("the price to come is not replaced: %v", err)
	}
	if _, err := s.DeletePrice(as(t.Context()), &edgev1.DeletePriceRequest{Revision: slip.GetRevision()}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("one that was replaced is taken back: %v", err)
	}
	costs(1)
	o.clock.now = start
	costs(2)
	if _, err := set(3_000_000); apierr.ReasonOf(err) != apierr.AlreadyExists {
		t.Errorf("a price that holds is replaced: %v", err)
	}
	costs(2)

	start = start.Add(time.Hour)
	next, err := set(5_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.DeletePrice(as(t.Context()), &edgev1.DeletePriceRequest{Revision: next.GetRevision()}); err != nil || out.GetPrice().GetRates().GetInput() != 5_000_000 {
		t.Errorf("%v, %v", out, err)
	}
	o.clock.now = start
	costs(2)
	list, err := s.ListPrices(as(t.Context()), &edgev1.ListPricesRequest{})
	if err != nil || len(list.GetPrices()) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if _, err := s.DeletePrice(as(t.Context()), &edgev1.DeletePriceRequest{Revision: list.GetPrices()[0].GetRevision()}); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("a price that holds is taken back: %v", err)
	}
	o.adds()
}
