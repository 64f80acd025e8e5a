package limit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// replica is one of several over a model, with a clock of its own.
type replica struct {
	*Leased

	clock    *clock.Fake
	admitted int
}

func (r *replica) ask(t *testing.T, l Limit) bool {
	t.Helper()
	out := make([]Decision, 1)
	refused, err := r.Take(t.Context(), []Ask{{Bucket: "k", Limit: l, Cost: 1}}, out)
	if err != nil {
		t.Fatal(err)
	}
	if out[0].Local {
		t.Fatal("decided alone")
	}
	if refused == None {
		r.admitted++
	}
	return refused == None
}

// leased is what the replica has of the bucket and has not used.
func (r *replica) leased() int {
	if e := r.entries["k"]; e != nil {
		return e.units
	}
	return 0
}

// TestReplicasTogetherKeepTheLimit has replicas, some of which die and come anew, ask
// at random for a bucket whose demand is above its limit. What they let through is
// never more than the limit, and less by no more than the leases that were lost and
// one part in fifty.
func TestReplicasTogetherKeepTheLimit(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { keepTheLimit(t, rand.New(rand.NewPCG(seed, 7))) })
	}
}

func keepTheLimit(t *testing.T, r *rand.Rand) {
	t.Helper()
	shared := clock.NewFake(start())
	m := newModel(shared)
	m.edges = 1 + r.IntN(4)
	l := Limit{Amount: 100 * (1 + r.IntN(20)), Period: time.Second}
	if r.IntN(2) == 0 {
		l.Burst = l.Amount * (1 + r.IntN(5))
	}
	replicas := make([]*replica, m.edges)
	born := 0
	bear := func() *replica {
		born++
		c := clock.NewFake(start().Add(time.Duration(r.IntN(3600)) * time.Second)) // nobody's clock is right
		return &replica{Leased: leasedOn(m, c, fmt.Sprint(born)), clock: c}
	}
	for i := range replicas {
		replicas[i] = bear()
		replicas[i].probe(t.Context())
	}
	admitted, lost, asked := 0, 0, 0
	demand := 2 * l.Amount // in a second
	const seconds, steps = 4, 400
	step := seconds * time.Second / steps
	for range steps {
		shared.Advance(step)
		for i, rep := range replicas {
			rep.clock.Advance(step)
			rep.sweep(rep.clock.Now())
			if err := rep.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r.IntN(steps/2) == 0 { // kill -9
				lost += rep.leased()
				replicas[i] = bear()
				replicas[i].probe(t.Context())
			}
		}
		// Demand comes to whichever replica, in clusters.
		favourite := r.IntN(len(replicas))
		for range demand * seconds / steps {
			i := favourite
			if r.IntN(3) == 0 {
				i = r.IntN(len(replicas))
			}
			asked++
			if replicas[i].ask(t, l) {
				admitted++
			}
		}
	}
	most := l.AtOnce() + l.Amount*seconds
	if admitted > most {
		t.Errorf("%+v, %d replicas: %d admitted, at most %d may be", l, m.edges, admitted, most)
	}
	least := min(most, asked)*98/100 - lost
	if admitted < least {
		t.Errorf("%+v, %d replicas: %d admitted of %d, at least %d should be (%d were lost)", l, m.edges, admitted, asked, least, lost)
	}
	// A lease is at most one part in a hundred of what may come at once, so that small
	// buckets have none.
	if lease := l.AtOnce() / leasePart / m.edges; lease >= 5 && m.takes > asked/4 {
		t.Errorf("%+v, %d replicas: Redis was asked %d times for %d requests", l, m.edges, m.takes, asked)
	}
}

func TestLeaseIsGivenBack(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	rep := &replica{Leased: leasedOn(m, c, "one"), clock: c}
	l := PerMinute(60_000)
	for range 200 {
		rep.ask(t, l)
	}
	if rep.leased() == 0 {
		t.Fatal("a bucket that is asked often has no lease")
	}
	before := m.takes
	c.Advance(leaseIdle)
	rep.sweep(c.Now())
	if err := rep.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := make([]Decision, 1)
	if err := rep.Look(t.Context(), []Ask{{Bucket: "k", Limit: l}}, out); err != nil {
		t.Fatal(err)
	}
	if rep.leased() != 0 || out[0].Remaining != 60_000 { // 500 were refilled meanwhile
		t.Errorf("%d are held, %+v", rep.leased(), out[0])
	}
	if before > 20 {
		t.Errorf("Redis was asked %d times for 200 requests", before)
	}
}

func TestWhatOneReplicaKnowsIsExact(t *testing.T) {
	c := clock.NewFake(start())
	rep := leasedOn(newModel(c), c, "one")
	l := PerMinute(60_000)
	out := make([]Decision, 1)
	for i := range 500 {
		if _, err := rep.Take(t.Context(), []Ask{{Bucket: "k", Limit: l, Cost: 1}}, out); err != nil {
			t.Fatal(err)
		}
		if want := 60_000 - i - 1; out[0].Remaining != want || out[0].ResetAfter != time.Duration(i+1)*time.Millisecond {
			t.Fatalf("after %d: %+v", i+1, out[0])
		}
	}
}

func TestLimitThatChanges(t *testing.T) {
	c := clock.NewFake(start())
	m := newModel(c)
	rep := &replica{Leased: leasedOn(m, c, "one"), clock: c}
	for range 500 {
		rep.ask(t, PerMinute(60_000))
	}
	n := 0
	for rep.ask(t, PerMinute(60)) {
		n++
	}
	// Half a second's worth was used, which is as much of the new limit.
	if n < 58 || n > 60 || rep.leased() != 0 {
		t.Errorf("%d of a limit of 60, %d leased", n, rep.leased())
	}
	if err := rep.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkLeased(b *testing.B) {
	for _, n := range []int{1, 3, 6} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := leasedOn(newModel(clock.Real()), clock.Real(), "one")
			asks, out := make([]Ask, n), make([]Decision, n)
			for i := range asks {
				asks[i] = Ask{Bucket: fmt.Sprint(i), Limit: Limit{Amount: 100_000_000, Period: time.Second}, Cost: 1}
			}
			b.ReportAllocs()
			for b.Loop() {
				if refused, err := l.Take(b.Context(), asks, out); err != nil || refused != None {
					b.Fatal(refused, err)
				}
			}
		})
	}
}
