package registry_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Outcomes and verdicts that are reported are in the results.
func TestEvidenceThroughTheService(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	now := timestamppb.New(time.Now())
	report := &registryv1.ReportOutcomesRequest{Batches: []*registryv1.OutcomeBatch{{
		Replica: "r", Epoch: 1, Sequence: 1, StartTime: now, EndTime: now,
		Outcomes: []*registryv1.Outcome{
			{Model: "m", Arm: "a", Version: 1, Sums: &registryv1.OutcomeSums{Requests: 90, Errors: 1}},
			{Model: "m", Experiment: "e", Arm: "b", Version: 2, Sums: &registryv1.OutcomeSums{Requests: 10, Errors: 5}},
		},
		Exposures: []*registryv1.Exposure{{Model: "m", Etag: "1", Shares: []*registryv1.Share{{Arm: "a", Weight: 1_000_000, Subjects: []uint64{1}}}}},
	}}}
	for i, want := range []int32{1, 0} {
		resp, err := r.ReportOutcomes(ctx, report)
		fatal(t, err)
		if resp.GetApplied() != want {
			t.Errorf("report %d applied %d", i, resp.GetApplied())
		}
	}
	feedback := &registryv1.RecordFeedbackRequest{ResponseId: "chatcmpl-1", Model: "m", Arm: "a", Version: 1, Score: 0.5, ResponseTime: now}
	for _, want := range []bool{false, true} {
		resp, err := r.RecordFeedback(ctx, feedback)
		fatal(t, err)
		if resp.GetReplaced() != want {
			t.Errorf("replaced is %v", resp.GetReplaced())
		}
	}
	listed, err := r.ListFeedback(ctx, &registryv1.ListFeedbackRequest{Model: "m"})
	fatal(t, err)
	if list := listed.GetFeedback(); len(list) != 1 || list[0].GetArm() != "a" || list[0].GetScore() != 0.5 || len(list[0].GetResponseSha256()) != 64 {
		t.Errorf("listed %v", listed)
	}
	plain, err := r.GetResults(ctx, &registryv1.GetResultsRequest{Model: "m"})
	fatal(t, err)
	arms := plain.GetResults().GetArms()
	if len(arms) != 1 || arms[0].GetSums().GetRequests() != 90 || arms[0].GetSums().GetFeedback().GetCount() != 1 ||
		plain.GetResults().GetSampleRatio().GetSubjects()["a"] != 1 {
		t.Errorf("results are %v", plain)
	}
	of, err := r.GetExperimentResults(ctx, &registryv1.GetExperimentResultsRequest{Model: "m", Experiment: "e"})
	fatal(t, err)
	if arms := of.GetResults().GetArms(); len(arms) != 1 || arms[0].GetArm() != "b" || arms[0].GetSums().GetErrors() != 5 {
		t.Errorf("results of the experiment are %v", of)
	}
	_, err = r.GetExperimentResults(ctx, &registryv1.GetExperimentResultsRequest{Model: "m", Experiment: "none"})
	wantError(t, err, apierr.NotFound, "experiment")
	later, err := r.GetResults(ctx, &registryv1.GetResultsRequest{Model: "m", Since: timestamppb.New(time.Now().Add(time.Hour))})
	fatal(t, err)
	if n := len(later.GetResults().GetArms()); n != 0 {
		t.Errorf("%d arms since later", n)
	}
	_, err = r.GetResults(ctx, &registryv1.GetResultsRequest{Model: "none"})
	wantError(t, err, apierr.ModelNotFound, "model")
	_, err = r.ReportOutcomes(ctx, &registryv1.ReportOutcomesRequest{})
	wantError(t, err, apierr.InvalidArgument, "batches")
	feedback.Score = 2
	_, err = r.RecordFeedback(ctx, feedback)
	wantError(t, err, apierr.InvalidArgument, "score")
	feedback.Score, feedback.Comment = 1, "bell\a"
	_, err = r.RecordFeedback(ctx, feedback)
	wantError(t, err, apierr.InvalidArgument, "comment")
}
