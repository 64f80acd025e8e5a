package reranking

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// fakeInference takes its time, and answers with its scores.
type fakeInference struct {
	inferencev1.InferenceServiceClient
	asked  int
	takes  time.Duration
	scores []float64
	err    error
}

func (f *fakeInference) Rerank(ctx context.Context, _ *inferencev1.RerankRequest, _ ...grpc.CallOption) (*inferencev1.RerankResponse, error) {
	f.asked++
	select {
	case <-time.After(f.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	return &inferencev1.RerankResponse{RelevanceScores: f.scores, ServedBy: &inferencev1.ServedBy{Model: "judge", Version: 2}}, nil
}

func TestScores(t *testing.T) {
	got, err := New(&fakeInference{scores: []float64{-1, 2}}, time.Minute, clock.Real()).Rerank(t.Context(), "judge", "q", []string{"a", "b"})
	if err != nil || !slices.Equal(got.Values, []float64{-1, 2}) || got.By != "judge@v2" {
		t.Errorf("got %v, %v", got, err)
	}
	for name, scores := range map[string][]float64{"too few": {1}, "no number": {1, math.NaN()}, "not finite": {math.Inf(1), 1}} {
		_, err := New(&fakeInference{scores: scores}, time.Minute, clock.Real()).Rerank(t.Context(), "judge", "q", []string{"a", "b"})
		if apierr.ReasonOf(err) != apierr.EngineFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who waits for a slow model is left with time to answer without it.
func TestTimeIsLeftToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct{ timeout, deadline, want time.Duration }{
			{10 * time.Second, time.Hour, 10 * time.Second}, {10 * time.Second, 4 * time.Second, 3 * time.Second},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
			began := time.Now()
			_, err := New(&fakeInference{takes: time.Minute}, tt.timeout, clock.Real()).Rerank(ctx, "judge", "q", []string{"a"})
			if took := time.Since(began); apierr.ReasonOf(err) != apierr.DeadlineExceeded || took != tt.want || ctx.Err() != nil {
				t.Errorf("it took %v, want %v: %v", took, tt.want, err)
			}
			// It is told beside an answer that came in time: whose time is over is said.
			if want := "the reranking model gave no scores within " + tt.want.String(); apierr.From(err).Message != want {
				t.Errorf("got %q, want %q", apierr.From(err).Message, want)
			}
			cancel()
		}
	})
}

// The inference service keeps to the deadline itself, and says so before it is
// over here.
func TestTheServicesDeadlineIsTheModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &fakeInference{err: status.Error(codes.DeadlineExceeded, "the request took longer than its deadline"), takes: 9 * time.Second}
		_, err := New(service, 10*time.Second, clock.Real()).Rerank(t.Context(), "judge", "q", []string{"a"})
		if e := apierr.From(err); e.Reason != apierr.DeadlineExceeded || e.Message != "the reranking model gave no scores within 10s" {
			t.Errorf("got %v", err)
		}
	})
}

// A model that gives no scores is not waited for again and again, and one whose
// requests are wrong is asked on.
func TestAModelThatFailsRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inference := &fakeInference{takes: time.Minute, scores: []float64{1}}
		c := New(inference, time.Second, clock.Real())
		ask := func(model string, want apierr.Reason) {
			t.Helper()
			if _, err := c.Rerank(t.Context(), model, "q", []string{"a"}); apierr.ReasonOf(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		for range restAfter {
			ask("judge", apierr.DeadlineExceeded)
		}
		asked := inference.asked
		for range 5 {
			ask("judge", apierr.Unavailable)
		}
		ask("other", apierr.DeadlineExceeded)
		if inference.asked != asked+1 {
			t.Errorf("a resting model was asked %d times", inference.asked-asked-1)
		}
		<-time.After(restTime)
		ask("judge", apierr.DeadlineExceeded) // one finds out that it goes on
		ask("judge", apierr.Unavailable)
		<-time.After(restTime)
		inference.takes = 0
		for range 2 * restAfter {
			ask("judge", "")
		}
		inference.err = apierr.New(apierr.InvalidArgument, "too long")
		for range 2 * restAfter {
			ask("judge", apierr.InvalidArgument)
		}
	})
}
