package store

import (
	"context"
	"fmt"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// maxSubjects is how many subjects of one etag are counted: the check of the sample
// ratio rests on the first ones, so that a split that runs for years takes no more.
const maxSubjects = 16_384

// addExposures counts the subjects that were not counted before.
func (c *change) addExposures(ctx context.Context, exposures []*registryv1.Exposure) error {
	known := make(map[string]bool)
	for _, e := range exposures {
		ok, err := c.knows(ctx, known, e.GetModel())
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := c.addExposure(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) addExposure(ctx context.Context, e *registryv1.Exposure) error {
	var total int64
	err := c.tx.QueryRowContext(ctx, `SELECT COALESCE(sum(subjects), 0) FROM registry_exposures
		WHERE model = $1 AND experiment = $2 AND etag = $3`, e.GetModel(), e.GetExperiment(), e.GetEtag()).Scan(&total)
	if err != nil {
		return fmt.Errorf("count subjects: %w", err)
	}
	for _, sh := range e.GetShares() {
		var fresh int64
		for _, subject := range sh.GetSubjects() {
			if total+fresh >= maxSubjects {
				break
			}
			n, err := c.insertSubject(ctx, e, subject)
			if err != nil {
				return err
			}
			fresh += n
		}
		total += fresh
		err := c.exec(ctx, `INSERT INTO registry_exposures (model, experiment, etag, arm, weight, subjects, update_time)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (model, experiment, etag, arm) DO UPDATE SET
			subjects = registry_exposures.subjects + excluded.subjects, update_time = excluded.update_time`,
			e.GetModel(), e.GetExperiment(), e.GetEtag(), sh.GetArm(), sh.GetWeight(), fresh, micros(c.now))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *change) insertSubject(ctx context.Context, e *registryv1.Exposure, subject uint64) (int64, error) {
	res, err := c.tx.ExecContext(ctx, `INSERT INTO registry_subjects (model, experiment, etag, subject) VALUES ($1, $2, $3, $4)
		ON CONFLICT (model, experiment, etag, subject) DO NOTHING`,
		e.GetModel(), e.GetExperiment(), e.GetEtag(), int64(subject))
	if err != nil {
		return 0, fmt.Errorf("insert subject: %w", err)
	}
	return res.RowsAffected()
}
