package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// FeedbackAge is how old an answer may be to be judged. Verdicts on older ones
// cannot be replaced any more, and are kept as sums.
const FeedbackAge = 7 * 24 * time.Hour

// maxFeedback bounds the verdicts of one model that may still be replaced.
const maxFeedback = 100_000

// Feedback is a user's verdict on an answer.
type Feedback struct {
	// Response is the answer's id.
	Response               string
	Model, Experiment, Arm string
	Version                int32
	Score                  float64
	Comment                string
	// Made is when the answer was.
	Made time.Time
}

// SetFeedback records a verdict in the place of an earlier one on the same answer,
// and reports whether there was one.
func (s *Store) SetFeedback(ctx context.Context, f Feedback) (replaced bool, err error) {
	if (f.Experiment != "" && !names.MatchString(f.Experiment)) || (f.Arm != "" && !names.MatchString(f.Arm)) {
		return false, apierr.Invalid("arm", "the experiment and the arm must be names")
	}
	digest := sha256.Sum256([]byte(f.Response))
	id := hex.EncodeToString(digest[:])
	err = s.outcomes(ctx, "set feedback", func(ctx context.Context, c *change) error {
		if err := hasModel(ctx, c.tx, f.Model); err != nil {
			return err
		}
		if f.Made.Before(c.now.Add(-FeedbackAge)) {
			return apierr.New(apierr.NotFound, "answers that are older than %v take no feedback", FeedbackAge).WithField("response_id")
		}
		var model string
		err := c.tx.QueryRowContext(ctx, `SELECT model FROM registry_feedback WHERE response = $1`, id).Scan(&model)
		if replaced = err == nil; replaced {
			return c.exec(ctx, `UPDATE registry_feedback SET score = $1, comment = $2, update_time = $3 WHERE response = $4`,
				f.Score, f.Comment, micros(c.now), id)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("feedback: %w", err)
		}
		var n int64
		if err := c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_feedback WHERE model = $1`, f.Model).Scan(&n); err != nil {
			return fmt.Errorf("count feedback: %w", err)
		}
		if n >= maxFeedback {
			return apierr.New(apierr.Overloaded, "the model %q has %d verdicts of the last week, as many as are kept", f.Model, n).
				WithRetryAfter(time.Hour)
		}
		return c.exec(ctx, `INSERT INTO registry_feedback
			(response, model, experiment, arm, version, score, comment, response_time, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			id, f.Model, f.Experiment, f.Arm, f.Version, f.Score, f.Comment, micros(f.Made), micros(c.now))
	})
	return replaced, err
}

// feedbackSums are the verdicts that may still be replaced, by arm and version.
func feedbackSums(ctx context.Context, q querier, model, experiment string, since time.Time) ([]*registryv1.Outcome, error) {
	out, err := collect(ctx, q, func(row scanner) (*registryv1.Outcome, error) {
		o := &registryv1.Outcome{Model: model, Experiment: experiment}
		m := new(registryv1.Moments)
		o.Sums = &registryv1.OutcomeSums{Feedback: m}
		return o, row.Scan(&o.Arm, &o.Version, &m.Count, &m.Sum, &m.SumSquares)
	}, `SELECT arm, version, count(*), sum(score), sum(score * score) FROM registry_feedback
		WHERE model = $1 AND experiment = $2 AND response_time >= $3 GROUP BY arm, version`, model, experiment, micros(since))
	if err != nil {
		return nil, fmt.Errorf("feedback: %w", err)
	}
	return out, nil
}
