package limit

import (
	"context"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

func slotsOn(scripts Scripts, c clock.Clock, name string) *Slots {
	return NewSlots(SlotsOptions{
		Clock: c, Scripts: scripts, Name: name, Timeout: 10 * time.Second, Edges: func() int { return 2 },
		Away: func() bool { return false }, Observe: unobserved{},
	})
}

func slot(t *testing.T, s *Slots, limit int, buckets ...string) (int, *Hold, []Decision) {
	t.Helper()
	var asks []Ask
	for _, b := range buckets {
		asks = append(asks, Ask{Bucket: b, Limit: Limit{Amount: limit, Period: time.Second}, Cost: 1})
	}
	out := make([]Decision, len(asks))
	refused, hold, err := s.Take(t.Context(), asks, out)
	if err != nil {
		t.Fatal(err)
	}
	return refused, hold, out
}

// testSlots holds for every implementation; one and two count together.
func testSlots(t *testing.T, one, two *Slots) {
	t.Helper()
	_, a, out := slot(t, one, 3, "x")
	if a == nil || out[0].Remaining != 2 {
		t.Fatalf("%+v", out)
	}
	_, b, _ := slot(t, two, 3, "x")
	_, c, out := slot(t, one, 3, "x")
	if b == nil || c == nil || out[0].Remaining != 0 {
		t.Fatalf("%+v", out)
	}
	refused, none, out := slot(t, two, 3, "y", "x")
	if refused != 1 || none != nil || out[1].Allowed || out[1].RetryAfter == 0 || !out[0].Allowed {
		t.Fatalf("refused %d: %+v", refused, out)
	}
	looked := make([]Decision, 1)
	if err := one.Look(t.Context(), []Ask{{Bucket: "y", Limit: Limit{Amount: 3, Period: time.Second}}}, looked); err != nil || looked[0].Remaining != 3 {
		t.Errorf("a refusal took of another: %+v, %v", looked, err)
	}
	b.Release(t.Context())
	b.Release(t.Context())
	if _, d, _ := slot(t, one, 3, "x"); d == nil {
		t.Fatal("what was released cannot be had")
	} else if _, e, _ := slot(t, one, 3, "x"); e != nil {
		t.Fatal("what was released once can be had twice")
	} else {
		d.Release(t.Context())
	}
	a.Release(t.Context())
	c.Release(t.Context())
	(*Hold)(nil).Release(t.Context())
}

func TestSlots(t *testing.T) {
	c := clock.NewFake(start())
	t.Run("here", func(t *testing.T) {
		s := NewSlots(SlotsOptions{Clock: c})
		testSlots(t, s, s)
		if len(s.inHand) != 0 {
			t.Errorf("in hand: %v", s.inHand)
		}
	})
	t.Run("model", func(t *testing.T) {
		m := newModel(c)
		testSlots(t, slotsOn(m, c, "one"), slotsOn(m, c, "two"))
	})
	t.Run("script", func(t *testing.T) {
		server, client := openMini(t)
		server.SetTime(start())
		testSlots(t, slotsOn(client, c, "one"), slotsOn(client, c, "two"))
	})
}

func TestSlotsOfAReplicaThatDied(t *testing.T) {
	server, client := openMini(t)
	server.SetTime(start())
	c := clock.NewFake(start())
	dead, alive := slotsOn(client, c, "dead"), slotsOn(client, c, "alive")
	if _, h, _ := slot(t, dead, 2, "x"); h == nil {
		t.Fatal("refused")
	}
	_, mine, _ := slot(t, alive, 2, "x")
	for elapsed := time.Duration(0); elapsed < slotAlive; elapsed += slotKept {
		if _, h, _ := slot(t, alive, 2, "x"); h != nil {
			t.Fatalf("after %v there is a third slot of two", elapsed)
		}
		c.Advance(slotKept)
		server.FastForward(slotKept)
		server.SetTime(c.Now())
		alive.keep(t.Context())
	}
	_, h, _ := slot(t, alive, 2, "x")
	if h == nil {
		t.Fatal("the dead replica's slot is never free")
	}
	if _, third, _ := slot(t, alive, 2, "x"); third != nil {
		t.Fatal("what is kept up was lost")
	}
	mine.Release(t.Context())
	h.Release(t.Context())
}

func TestSlotsAreUsedAgain(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	s := slotsOn(m, c, "one")
	for range 100 {
		_, h, _ := slot(t, s, 10, "x", "y")
		h.Release(t.Context())
	}
	if m.calls() != 1 {
		t.Errorf("Redis was asked %d times for a hundred requests one after another", m.calls())
	}
	c.Advance(spareIdle)
	for _, h := range s.idle(c.Now(), spareIdle) {
		s.end(t.Context(), h)
	}
	if n := len(m.slots["poterne:{limit}:slots:x"]); n != 0 || len(s.holds) != 0 {
		t.Errorf("%d are taken, %d held, and nobody uses them", n, len(s.holds))
	}
}

func TestSlotsWithoutRedis(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	s := slotsOn(m, c, "one")
	m.set(fails)
	_, a, out := slot(t, s, 4, "x")
	_, b, _ := slot(t, s, 4, "x")
	if a == nil || b == nil || !out[0].Local || out[0].Remaining != 1 {
		t.Fatalf("%+v", out)
	}
	if refused, _, _ := slot(t, s, 4, "x"); refused != 0 {
		t.Error("more than the share of two")
	}
	m.set(works)
	s.keep(t.Context())
	if n := len(m.slots["poterne:{limit}:slots:x"]); n != 2 {
		t.Errorf("Redis knows of %d, want 2", n)
	}
	a.Release(t.Context())
	b.Release(t.Context())
	if n := len(m.slots["poterne:{limit}:slots:x"]); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A slot that may have been taken although nobody was told ends.
func TestSlotsThatNobodyWasToldOf(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	s := slotsOn(m, c, "one")
	m.set(loses)
	_, h, out := slot(t, s, 4, "x")
	if h == nil || !out[0].Local {
		t.Fatalf("%+v", out)
	}
	m.set(works)
	h.Release(context.WithoutCancel(t.Context()))
	if n := len(m.slots["poterne:{limit}:slots:x"]); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// What Redis was not told in time it is told soon.
func TestSlotsThatRedisWasNotToldOf(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	s := slotsOn(m, c, "one")
	_, a, _ := slot(t, s, 1, "x")
	m.set(fails)
	a.Release(t.Context())
	m.set(works)
	if n := len(m.slots["poterne:{limit}:slots:x"]); n != 1 {
		t.Fatalf("%d are taken", n)
	}
	// One that Redis gave, and that was refused here meanwhile.
	s.inHand["x"] = 1
	m.set(loses)
	if refused, _, _ := slot(t, s, 2, "y", "x"); refused != 1 {
		t.Fatalf("refused %d", refused)
	}
	m.set(works)
	s.endLate(t.Context())
	for _, bucket := range []string{"x", "y"} {
		if n := len(m.slots["poterne:{limit}:slots:"+bucket]); n != 0 {
			t.Errorf("%s: %d are left", bucket, n)
		}
	}
}
