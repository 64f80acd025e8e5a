package overload

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

type seen struct{ shed map[string]int }

func (s seen) Shed(_ context.Context, priority string) { s.shed[priority]++ }
func (seen) Limit(context.Context, int)                {}

func open(t *testing.T, limit int) (*Gate, *clock.Fake, seen) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.MinLimit, cfg.InitialLimit, cfg.MaxLimit = 2, limit, 2*limit
	c, s := clock.NewFake(time.Unix(1_800_000_000, 0)), seen{make(map[string]int)}
	return New(cfg, c, s), c, s
}

func TestTheLessUrgentAreShedFirst(t *testing.T) {
	g, _, s := open(t, 10)
	in := make(map[Priority]int)
	for _, p := range []Priority{Batch, Standard, Interactive} {
		for range 20 {
			_, err := g.Enter(t.Context(), p)
			if err == nil {
				in[p]++
			} else if !errors.Is(err, ErrShed) || apierr.From(err).RetryAfter == 0 || apierr.ReasonOf(err) != apierr.Overloaded {
				t.Fatal(err)
			}
		}
	}
	if in[Batch] != 6 || in[Standard] != 3 || in[Interactive] != 1 || s.shed["batch"] != 14 {
		t.Errorf("%v let in, %v turned away", in, s.shed)
	}
}

func TestTheLimitFollowsTheService(t *testing.T) {
	g, c, _ := open(t, 10)
	answered := func(err error) {
		var all []*Visit
		for range 6 {
			v, e := g.Enter(t.Context(), Interactive)
			if e != nil {
				break
			}
			all = append(all, v)
		}
		for _, v := range all {
			v.Answered(t.Context(), err)
			v.Leave()
			v.Leave()
		}
	}
	for range 50 {
		answered(nil)
	}
	grown, inHand := g.Limit()
	if grown <= 10 || grown > 20 || inHand != 0 {
		t.Fatalf("a service that answers: %d, %d in hand", grown, inHand)
	}
	overloaded := apierr.New(apierr.Overloaded, "the queue is full")
	answered(overloaded)
	once, _ := g.Limit()
	if once >= grown || float64(once) < 0.85*float64(grown)-1 {
		t.Errorf("one moment of overload: from %d to %d", grown, once)
	}
	answered(apierr.New(apierr.ModelNotFound, "no such model"))
	if after, _ := g.Limit(); after != once {
		t.Errorf("an error that says nothing: from %d to %d", once, after)
	}
	for range 100 {
		c.Advance(time.Second)
		answered(overloaded)
	}
	if least, _ := g.Limit(); least != 2 {
		t.Errorf("a service that stays overloaded: %d", least)
	}
}
