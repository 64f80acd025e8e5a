package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/outcome"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// batch is what a replica counted in the second before now.
func (e *env) batch(replica string, epoch, sequence int64, outcomes ...*registryv1.Outcome) *registryv1.OutcomeBatch {
	now := e.clock.Now()
	return &registryv1.OutcomeBatch{
		Replica: replica, Epoch: epoch, Sequence: sequence,
		StartTime: timestamppb.New(now.Add(-time.Second)), EndTime: timestamppb.New(now), Outcomes: outcomes,
	}
}

func counted(model, arm string, requests, errors int64) *registryv1.Outcome {
	return &registryv1.Outcome{
		Model: model, Arm: arm, Version: 1, Digest: "sha256:0a",
		Sums: &registryv1.OutcomeSums{
			Requests: requests, Errors: errors, Cost: &registryv1.Moments{Count: requests, Sum: float64(requests), SumSquares: float64(requests)},
			Duration: &registryv1.Durations{Counts: []int64{0, 0, 0, requests}},
		},
	}
}

func (e *env) report(batches ...*registryv1.OutcomeBatch) int {
	e.t.Helper()
	n, err := e.AddOutcomes(e.t.Context(), batches)
	return must(e.t, n, err)
}

// requests is how many requests of an arm are counted.
func (e *env) requests(model, arm string, since time.Time) int64 {
	e.t.Helper()
	ev, err := e.Evidence(e.t.Context(), model, "", since)
	check(e.t, err)
	var n int64
	for _, o := range ev.Outcomes {
		if o.GetArm() == arm {
			if c := outcome.Counts(o.GetSums().GetDuration())[3]; c != o.GetSums().GetRequests() {
				e.t.Errorf("%d requests, but %d durations", o.GetSums().GetRequests(), c)
			}
			n += o.GetSums().GetRequests()
		}
	}
	return n
}

func (s suite) outcomes(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	before := e.revision()
	first, second := e.batch("r", 1, 1, counted("m", "a", 3, 1)), e.batch("r", 1, 2, counted("m", "a", 4, 0), counted("m", "b", 5, 0))
	if n := e.report(first); n != 1 {
		t.Errorf("%d applied", n)
	}
	// The answer was lost: the same again, with what came since.
	if n := e.report(first, second); n != 1 {
		t.Errorf("%d applied the second time", n)
	}
	if n := e.report(second); n != 0 {
		t.Errorf("%d applied the third time", n)
	}
	// The replica starts anew, and another one counts too; a late copy of an old one
	// comes.
	e.report(e.batch("r", 2, 1, counted("m", "a", 10, 0)))
	e.report(e.batch("other", 1, 1, counted("m", "a", 100, 0)))
	e.report(second)
	if a, b := e.requests("m", "a", time.Time{}), e.requests("m", "b", time.Time{}); a != 117 || b != 5 {
		t.Errorf("%d and %d requests are counted, want 117 and 5", a, b)
	}
	if after := e.revision(); after != before {
		t.Errorf("outcomes took %d revisions", after-before)
	}
	// What cannot be kept is not asked for again; the rest is.
	lost := e.batch("r", 2, 2, counted("gone", "a", 7, 0), counted("m", "b", 1, 0))
	lost.Dropped = 9
	if n := e.report(lost); n != 1 {
		t.Errorf("%d applied", n)
	}
	if b := e.requests("m", "b", time.Time{}); b != 6 {
		t.Errorf("%d requests", b)
	}
	ev, err := e.Evidence(t.Context(), "m", "", time.Time{})
	check(t, err)
	if ev.Dropped != 9 {
		t.Errorf("%d dropped", ev.Dropped)
	}
	_, err = e.Evidence(t.Context(), "gone", "", time.Time{})
	wantReason(t, err, apierr.ModelNotFound, "model")
	bad := e.batch("r", 3, 1, counted("m", "a\x00", 1, 0))
	_, err = e.AddOutcomes(t.Context(), []*registryv1.OutcomeBatch{bad})
	wantReason(t, err, apierr.InvalidArgument, "batches[0].outcomes[0]")
	// Its outcomes go with the model.
	check(t, e.PurgeModel(t.Context(), "", "m"))
	e.model("m")
	if a := e.requests("m", "a", time.Time{}); a != 0 {
		t.Errorf("a new model begins with %d requests", a)
	}
}

// Senders that lose answers, start anew and send side by side: whatever happens,
// each request is counted once.
func (s suite) outcomesOnce(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	replicas := []*store.Store{e.Store, e.open()}
	const senders, batches = 4, 30
	together(senders, func(i int) {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		name := fmt.Sprintf("r%d", i)
		var unsent []*registryv1.OutcomeBatch
		epoch, sequence := int64(1), int64(0)
		for range batches {
			if r.IntN(5) == 0 {
				epoch, sequence = epoch+1, 0
			}
			sequence++
			unsent = append(unsent, e.batch(name, epoch, sequence, counted("m", "a", 1, 0)))
			n := 1 + r.IntN(len(unsent))
			if _, err := replicas[r.IntN(2)].AddOutcomes(t.Context(), unsent[:n]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if r.IntN(2) == 0 { // otherwise the answer was lost
				unsent = unsent[n:]
			}
		}
		for _, b := range unsent {
			if _, err := replicas[0].AddOutcomes(t.Context(), []*registryv1.OutcomeBatch{b}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	if n := e.requests("m", "a", time.Time{}); n != senders*batches {
		t.Errorf("%d requests are counted of %d", n, senders*batches)
	}
}

// Old sums are put together, and nothing is lost by it until it is forgotten.
func (s suite) outcomesTidied(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	for i := range int64(20) {
		e.report(e.batch("r", 1, i+1, counted("m", "a", 1, 0)))
		e.clock.Advance(15 * time.Second)
	}
	middle := e.clock.Now()
	for i := range int64(20) {
		e.report(e.batch("r", 2, i+1, counted("m", "a", 1, 0)))
		e.clock.Advance(15 * time.Second)
	}
	if n := e.requests("m", "a", middle); n < 20 || n > 21 {
		t.Errorf("%d requests since the middle", n)
	}
	rows := func() (n int) {
		check(t, e.raw().QueryRowContext(t.Context(), `SELECT count(*) FROM registry_outcomes`).Scan(&n))
		return n
	}
	if n := rows(); n < 30 {
		t.Errorf("%d rows", n)
	}
	e.clock.Advance(4 * time.Hour)
	check(t, e.TidyOutcomes(t.Context()))
	if n, all := rows(), e.requests("m", "a", time.Time{}); n != 1 || all != 40 {
		t.Errorf("%d rows with %d requests", n, all)
	}
	// A batch that waited goes to its hour.
	late := e.batch("late", 1, 1, counted("m", "a", 2, 0))
	late.StartTime = timestamppb.New(middle)
	e.report(late)
	if n, all := rows(), e.requests("m", "a", time.Time{}); n != 1 || all != 42 {
		t.Errorf("%d rows with %d requests", n, all)
	}
	// One that waited too long is said to be done, and is not counted.
	late = e.batch("late", 1, 2, counted("m", "a", 2, 0))
	late.StartTime = timestamppb.New(middle.AddDate(0, 0, -20))
	if n := e.report(late); n != 0 {
		t.Errorf("%d applied", n)
	}
	e.clock.Advance(100 * 24 * time.Hour)
	check(t, e.TidyOutcomes(t.Context()))
	if n := rows(); n != 0 {
		t.Errorf("%d rows are kept for ever", n)
	}
}

func (s suite) exposures(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	exposure := func(etag string, a, b []uint64) *registryv1.Exposure {
		return &registryv1.Exposure{Model: "m", Etag: etag, Shares: []*registryv1.Share{
			{Arm: "a", Weight: 900_000, Subjects: a}, {Arm: "b", Weight: 100_000, Subjects: b},
		}}
	}
	b := e.batch("r", 1, 1)
	b.Exposures = []*registryv1.Exposure{exposure("1", []uint64{1, 2, 1 << 63}, []uint64{4}), exposure("2", []uint64{1}, nil)}
	e.report(b)
	b = e.batch("other", 1, 1) // saw some of the same
	b.Exposures = []*registryv1.Exposure{exposure("1", []uint64{2, 5}, []uint64{4, 6})}
	e.report(b)
	ev, err := e.Evidence(t.Context(), "m", "", time.Time{})
	check(t, err)
	got := fmt.Sprint(ev.Exposed)
	if want := "[{1 [a b] [900000 100000] [4 2]} {2 [a b] [900000 100000] [1 0]}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	e.clock.Advance(time.Minute)
	ev, err = e.Evidence(t.Context(), "m", "", e.clock.Now())
	check(t, err)
	if len(ev.Exposed) != 0 {
		t.Errorf("later there are %v", ev.Exposed)
	}
}

func (s suite) feedback(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	ctx := t.Context()
	f := store.Feedback{Response: "chatcmpl-1", Model: "m", Arm: "a", Version: 1, Score: 1, Comment: "bien", Made: e.clock.Now()}
	set := func(f store.Feedback) bool {
		t.Helper()
		replaced, err := e.SetFeedback(ctx, f)
		return must(t, replaced, err)
	}
	want := func(count int64, sum float64) {
		t.Helper()
		ev, err := e.Evidence(ctx, "m", "", time.Time{})
		check(t, err)
		got := new(registryv1.Moments)
		if len(ev.Outcomes) > 0 {
			got = ev.Outcomes[0].GetSums().GetFeedback()
		}
		if got.GetCount() != count || got.GetSum() != sum {
			t.Errorf("feedback is %v, want %d with the sum %v", got, count, sum)
		}
	}
	if set(f) {
		t.Error("the first one replaces something")
	}
	f.Score = -0.5
	if !set(f) {
		t.Error("the second one replaces nothing")
	}
	want(1, -0.5)
	f.Response, f.Score = "chatcmpl-2", 1
	set(f)
	want(2, 0.5)
	e.clock.Advance(store.FeedbackAge + time.Minute)
	_, err := e.SetFeedback(ctx, f)
	wantReason(t, err, apierr.NotFound, "response_id")
	check(t, e.TidyOutcomes(ctx))
	want(2, 0.5)
	f.Model, f.Made = "gone", e.clock.Now()
	_, err = e.SetFeedback(ctx, f)
	wantReason(t, err, apierr.ModelNotFound, "model")
}
