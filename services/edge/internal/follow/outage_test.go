package follow

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// A store that is slow once, as at a start under load, is not away.
func TestAStoreThatIsLateIsNotAway(t *testing.T) {
	failed := errors.New("refused")
	for name, c := range map[string]struct {
		polls []error
		want  []News
	}{
		"late once":         {[]error{ErrLate, nil, nil}, []News{Late, Nothing, Nothing}},
		"late now and then": {[]error{ErrLate, nil, ErrLate, nil}, []News{Late, Nothing, Late, Nothing}},
		"late for long":     {[]error{ErrLate, ErrLate, ErrLate, nil, nil}, []News{Late, Away, Nothing, Back, Nothing}},
		"away":              {[]error{failed, failed, nil}, []News{Away, Nothing, Back}},
		"late, then away":   {[]error{ErrLate, failed, ErrLate, nil}, []News{Late, Away, Nothing, Back}},
		"away, then late":   {[]error{failed, ErrLate, ErrLate, nil}, []News{Away, Nothing, Nothing, Back}},
	} {
		var o Outage
		var got []News
		for _, err := range c.polls {
			got = append(got, o.Polled(err))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// slow is a store whose first answer takes as long as it is asked to, and whose errors
// are of its own making, as a driver's are.
type slow struct{ takes time.Duration }

var errInterrupted = errors.New("interrupted")

func (s *slow) Get(context.Context, string) (int, error) { return 0, nil }

func (s *slow) Changes(context.Context, int64, int) ([]int, error) { return nil, nil }

func (s *slow) Revision(ctx context.Context) (int64, error) {
	if clock.Sleep(ctx, clock.Real(), s.takes) != nil {
		return 0, errInterrupted
	}
	return 0, nil
}

// A poll that runs out of its time says so, whatever the store's driver calls that; one
// whose caller leaves does not.
func TestAPollThatTakesTooLongIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{takes: time.Minute}
		c, err := New(s, Options[int]{
			Name: func(int) string { return "" }, Revision: func(int) int64 { return 0 }, Size: 1, Clock: clock.Real(), Failed: func(context.Context) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Poll(t.Context()); !errors.Is(err, ErrLate) || !errors.Is(err, errInterrupted) {
			t.Errorf("slow: %v", err)
		}
		left, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Poll(left); errors.Is(err, ErrLate) || err == nil {
			t.Errorf("of who left: %v", err)
		}
		s.takes = 0
		if err := c.Poll(t.Context()); err != nil {
			t.Errorf("at once: %v", err)
		}
	})
}
