package store

import (
	"context"
	"fmt"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/outcome"
)

// tidyEvery is the least time between two tidyings, whichever replicas ask for
// them; tidyRows bounds what one of them puts together.
const (
	tidyEvery = time.Minute
	tidyRows  = 5000
)

// TidyOutcomes puts sums of small times together once they are old, and forgets
// what is older still. It does nothing when it was done within the last minute.
func (s *Store) TidyOutcomes(ctx context.Context) error {
	return s.outcomes(ctx, "tidy outcomes", func(ctx context.Context, c *change) error {
		res, err := c.tx.ExecContext(ctx, `UPDATE registry_outcome_state SET tidied = $1 WHERE id = 1 AND tidied <= $2`,
			micros(c.now), micros(c.now.Add(-tidyEvery)))
		if err != nil {
			return fmt.Errorf("begin to tidy: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if err := c.coarsen(ctx); err != nil {
			return err
		}
		if err := c.settleFeedback(ctx); err != nil {
			return err
		}
		return c.forget(ctx)
	})
}

// coarsen makes hours of the seconds that are old.
func (c *change) coarsen(ctx context.Context) error {
	// Hours are made of whole hours only, so that Since is off by no more.
	before := c.now.Add(-fineAge).Truncate(coarseWidth)
	rows, err := outcomeRows(ctx, c.tx, `width = $1 AND bucket < $2 ORDER BY bucket LIMIT $3`,
		int64(fineWidth/time.Second), before.Unix(), tidyRows)
	if err != nil {
		return err
	}
	sums := make(map[outcomeKey]*registryv1.OutcomeSums)
	for _, r := range rows {
		k := r.outcomeKey
		k.width, k.bucket = int64(coarseWidth/time.Second), time.Unix(k.bucket, 0).Truncate(coarseWidth).Unix()
		if sums[k] == nil {
			sums[k] = new(registryv1.OutcomeSums)
		}
		outcome.Add(sums[k], r.sums)
		err := c.exec(ctx, `DELETE FROM registry_outcomes WHERE model = $1 AND experiment = $2 AND width = $3
			AND bucket = $4 AND arm = $5 AND version = $6 AND digest = $7 AND segment = $8 AND prompt = $9`,
			r.model, r.experiment, r.width, r.bucket, r.arm, r.version, r.digest, r.segment, r.prompt)
		if err != nil {
			return err
		}
	}
	return c.addSums(ctx, sums)
}

// settleFeedback makes sums of verdicts that nobody can replace any more.
func (c *change) settleFeedback(ctx context.Context) error {
	type verdict struct {
		id      string
		outcome registryv1.Outcome
		made    int64
	}
	rows, err := collect(ctx, c.tx, func(row scanner) (*verdict, error) {
		v := new(verdict)
		m := &registryv1.Moments{Count: 1}
		v.outcome.Sums = &registryv1.OutcomeSums{Feedback: m}
		err := row.Scan(&v.id, &v.outcome.Model, &v.outcome.Experiment, &v.outcome.Arm, &v.outcome.Version, &m.Sum, &v.made)
		m.SumSquares = m.Sum * m.Sum
		return v, err
	}, `SELECT response, model, experiment, arm, version, score, response_time FROM registry_feedback
		WHERE response_time < $1 ORDER BY response_time LIMIT $2`, micros(c.now.Add(-FeedbackAge)), tidyRows)
	if err != nil {
		return fmt.Errorf("old feedback: %w", err)
	}
	sums := make(map[outcomeKey]*registryv1.OutcomeSums)
	for _, v := range rows {
		k := keyOf(&v.outcome, time.UnixMicro(v.made), c.now)
		if sums[k] == nil {
			sums[k] = new(registryv1.OutcomeSums)
		}
		outcome.Add(sums[k], v.outcome.GetSums())
		if err := c.exec(ctx, `DELETE FROM registry_feedback WHERE response = $1`, v.id); err != nil {
			return err
		}
	}
	return c.addSums(ctx, sums)
}

// forget deletes what is too old to matter.
func (c *change) forget(ctx context.Context) error {
	for _, old := range []struct {
		query string
		arg   int64
	}{
		{`DELETE FROM registry_outcomes WHERE width = 3600 AND bucket < $1`, c.now.Add(-outcomeAge).Unix()},
		{`DELETE FROM registry_outcome_marks WHERE update_time < $1`, micros(c.now.Add(-markAge))},
		{`DELETE FROM registry_subjects WHERE EXISTS (SELECT 1 FROM registry_exposures e
			WHERE e.model = registry_subjects.model AND e.experiment = registry_subjects.experiment
			AND e.etag = registry_subjects.etag AND e.update_time < $1)`, micros(c.now.Add(-maxBatchAge))},
		{`DELETE FROM registry_exposures WHERE update_time < $1`, micros(c.now.Add(-outcomeAge))},
	} {
		if err := c.exec(ctx, old.query, old.arg); err != nil {
			return err
		}
	}
	return nil
}
