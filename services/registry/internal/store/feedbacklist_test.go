package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Verdicts are listed newest first and in pages, some of them by where they are from.
func (s suite) feedbackList(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	e.model("other")
	ctx := t.Context()
	for i := range 5 {
		f := store.Feedback{
			Response: fmt.Sprint("r", i), Model: "m", Arm: []string{"a", "b"}[i%2], Version: 1, Score: float64(i) / 10,
			Made: e.clock.Now().Add(time.Duration(i/2) * time.Second), // two at a time
		}
		if i > 2 {
			f.Comment, f.Experiment = "bien", "e"
		}
		_, err := e.SetFeedback(ctx, f)
		check(t, err)
	}
	list := func(q store.FeedbackQuery) (scores []float64) {
		t.Helper()
		q.Model = "m"
		for {
			page, err := e.ListFeedback(ctx, q)
			check(t, err)
			for _, f := range page {
				scores = append(scores, f.GetScore())
				q.After = store.FeedbackPlace(f)
			}
			if len(page) < q.Limit {
				return scores
			}
		}
	}
	if all := list(store.FeedbackQuery{Limit: 2}); len(all) != 5 || all[0] != 0.4 || all[3]+all[4] != 0.1 {
		t.Errorf("in pages: %v", all)
	}
	for _, tt := range []struct {
		query store.FeedbackQuery
		want  int
	}{
		{store.FeedbackQuery{Arm: "a"}, 3},
		{store.FeedbackQuery{Experiment: "e"}, 2},
		{store.FeedbackQuery{Commented: true, Arm: "b"}, 1},
		{store.FeedbackQuery{Arm: "none"}, 0},
		{store.FeedbackQuery{Arm: "no name\x00"}, 0},
	} {
		tt.query.Limit = 10
		if got := list(tt.query); len(got) != tt.want {
			t.Errorf("%+v: %v", tt.query, got)
		}
	}
	_, err := e.ListFeedback(ctx, store.FeedbackQuery{Model: "none", Limit: 1})
	wantReason(t, err, apierr.ModelNotFound, "model")
}
