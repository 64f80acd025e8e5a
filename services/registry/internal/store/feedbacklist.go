package store

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// FeedbackQuery says which verdicts are listed: those on answers of a model; empty
// fields are all.
type FeedbackQuery struct {
	Model, Experiment, Arm string
	// Commented leaves out those that say nothing.
	Commented bool
	// After is the place of the last one that was listed, as FeedbackPlace gives it.
	After string
	Limit int
}

// FeedbackPlace is where a verdict stands in the list.
func FeedbackPlace(f *registryv1.Feedback) string {
	return strconv.FormatInt(f.GetResponseTime().AsTime().UnixMicro(), 10) + " " + f.GetResponseSha256()
}

// ListFeedback returns verdicts that may still be replaced, by the time of the
// answer, the newest first. A model that is not there is an error.
func (s *Store) ListFeedback(ctx context.Context, query FeedbackQuery) ([]*registryv1.Feedback, error) {
	at, response := int64(math.MaxInt64), ""
	if query.After != "" {
		text, id, ok := strings.Cut(query.After, " ")
		var err error
		if at, err = strconv.ParseInt(text, 10, 64); err != nil || !ok {
			return nil, apierr.Invalid("page_token", "the page token is none of this list's")
		}
		response = id
	}
	for _, name := range []string{query.Experiment, query.Arm} {
		if name != "" && !names.MatchString(name) {
			return nil, nil
		}
	}
	var out []*registryv1.Feedback
	err := s.snapshot(ctx, "list feedback", func(ctx context.Context, q querier) error {
		if _, err := s.model(ctx, q, query.Model); err != nil {
			return err
		}
		var err error
		out, err = collect(ctx, q, scanFeedback, `SELECT response, model, experiment, arm, version, score, comment, response_time, update_time
			FROM registry_feedback WHERE model = $1 AND ($2 = '' OR experiment = $2) AND ($3 = '' OR arm = $3)
			AND ($4 = 0 OR comment <> '') AND (response_time < $5 OR response_time = $5 AND response > $6)
			ORDER BY response_time DESC, response LIMIT $7`,
			query.Model, query.Experiment, query.Arm, flag(query.Commented), at, response, query.Limit)
		if err != nil {
			return fmt.Errorf("feedback: %w", err)
		}
		return nil
	})
	return out, err
}

func scanFeedback(row scanner) (*registryv1.Feedback, error) {
	var (
		f           registryv1.Feedback
		made, given int64
	)
	err := row.Scan(&f.ResponseSha256, &f.Model, &f.Experiment, &f.Arm, &f.Version, &f.Score, &f.Comment, &made, &given)
	f.ResponseTime, f.UpdateTime = timestamp(made), timestamp(given)
	return &f, err
}
