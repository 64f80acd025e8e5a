package limit

import (
	"testing"
	"time"
)

// testBuckets holds for every implementation; time passes by the function returned.
func testBuckets(t *testing.T, open func(t *testing.T) (Buckets, func(time.Duration))) {
	t.Helper()
	l, wide := PerMinute(6), PerMinute(60)
	take := func(t *testing.T, b Buckets, asks ...Ask) (int, []Decision) {
		t.Helper()
		out := make([]Decision, len(asks))
		refused, err := b.Take(t.Context(), asks, out)
		if err != nil {
			t.Fatal(err)
		}
		return refused, out
	}
	look := func(t *testing.T, b Buckets, bucket string, l Limit) Decision {
		t.Helper()
		out := make([]Decision, 1)
		if err := b.Look(t.Context(), []Ask{{Bucket: bucket, Limit: l}}, out); err != nil {
			t.Fatal(err)
		}
		return out[0]
	}

	t.Run("the first refusal wins and takes nothing", func(t *testing.T) {
		b, _ := open(t)
		take(t, b, Ask{Bucket: "b", Limit: l, Cost: 4}, Ask{Bucket: "c", Limit: l, Cost: 5})
		refused, out := take(t, b, Ask{Bucket: "a", Limit: wide, Cost: 3}, Ask{Bucket: "b", Limit: l, Cost: 3}, Ask{Bucket: "c", Limit: l, Cost: 3})
		if refused != 1 || !out[0].Allowed || out[1].Allowed || out[1].RetryAfter != 10*time.Second || out[0].Remaining != 60 {
			t.Fatalf("refused %d: %+v", refused, out)
		}
		if d := look(t, b, "a", wide); d.Remaining != 60 {
			t.Errorf("it took of the first: %+v", d)
		}
		if d := look(t, b, "b", l); d.Remaining != 2 || d.ResetAfter != 40*time.Second {
			t.Errorf("it took of the second: %+v", d)
		}
	})

	t.Run("what is waited for is let in", func(t *testing.T) {
		b, advance := open(t)
		take(t, b, Ask{Bucket: "b", Limit: l, Cost: 6})
		refused, out := take(t, b, Ask{Bucket: "a", Limit: wide, Cost: 1}, Ask{Bucket: "b", Limit: l, Cost: 2})
		if refused != 1 || out[1].RetryAfter != 20*time.Second {
			t.Fatalf("refused %d: %+v", refused, out)
		}
		advance(out[1].RetryAfter - time.Millisecond)
		if refused, _ := take(t, b, Ask{Bucket: "a", Limit: wide, Cost: 1}, Ask{Bucket: "b", Limit: l, Cost: 2}); refused != 1 {
			t.Fatalf("too early it is %d", refused)
		}
		advance(time.Millisecond)
		if refused, out = take(t, b, Ask{Bucket: "a", Limit: wide, Cost: 1}, Ask{Bucket: "b", Limit: l, Cost: 2}); refused != None {
			t.Fatalf("refused %d: %+v", refused, out)
		}
	})

	t.Run("what is given back can be had", func(t *testing.T) {
		b, advance := open(t)
		take(t, b, Ask{Bucket: "b", Limit: l, Cost: 6})
		if refused, _ := take(t, b, Ask{Bucket: "b", Limit: l, Cost: 5}); refused != 0 {
			t.Fatal("there is more than was left")
		}
		if err := b.Settle(t.Context(), []Ask{{Bucket: "b", Limit: l, Cost: -5}}); err != nil {
			t.Fatal(err)
		}
		advance(0)
		if d := look(t, b, "b", l); d.Remaining != 5 || d.ResetAfter != 10*time.Second {
			t.Fatalf("%+v", d)
		}
		if refused, out := take(t, b, Ask{Bucket: "b", Limit: l, Cost: 5}); refused != None {
			t.Fatalf("%+v", out)
		}
	})

	t.Run("what is settled above is owed, within a bound", func(t *testing.T) {
		b, advance := open(t)
		for _, cost := range []int{8, 1 << 60} {
			if err := b.Settle(t.Context(), []Ask{{Bucket: "b", Limit: l, Cost: cost}}); err != nil {
				t.Fatal(err)
			}
			advance(0)
			d := look(t, b, "b", l)
			if want := time.Duration(min(cost, 16*6)) * 10 * time.Second; d.Remaining != 0 || d.ResetAfter != want {
				t.Errorf("%+v, want %v", d, want)
			}
		}
		if err := b.Settle(t.Context(), []Ask{{Bucket: "b", Limit: l, Cost: -1 << 60}}); err != nil {
			t.Fatal(err)
		}
		advance(0)
		if d := look(t, b, "b", l); d.Remaining != 6 || d.ResetAfter != 0 {
			t.Errorf("given back more than was ever taken: %+v", d)
		}
	})
}
