package store

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/outcome"
)

// Exposed is how many subjects fell into the arms of a split at one etag.
type Exposed struct {
	Etag     string
	Arms     []string
	Weights  []int32
	Subjects []int64
}

// Evidence is everything that is known of a model's split or experiment.
type Evidence struct {
	// Outcomes are the sums by arm, version, segment and prompt, in no order. Verdicts
	// have no segment and no prompt.
	Outcomes []*registryv1.Outcome
	// Exposed is by etag.
	Exposed []Exposed
	// Dropped is how many requests replicas could not count, of all models.
	Dropped int64
}

// Evidence returns what was counted of an experiment, "" being the model's plain
// split. What came before since is left out, to within the width of what is kept;
// the zero time leaves nothing out.
func (s *Store) Evidence(ctx context.Context, model, experiment string, since time.Time) (*Evidence, error) {
	if since.Before(time.Unix(0, 0)) {
		since = time.Unix(0, 0)
	}
	out := new(Evidence)
	err := s.snapshot(ctx, "evidence", func(ctx context.Context, q querier) error {
		*out = Evidence{}
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		sums, err := outcomeRows(ctx, q, `model = $1 AND experiment = $2 AND bucket + width > $3`, model, experiment, since.Unix())
		if err != nil {
			return err
		}
		verdicts, err := feedbackSums(ctx, q, model, experiment, since)
		if err != nil {
			return err
		}
		out.Outcomes = mergedOutcomes(sums, verdicts)
		if out.Exposed, err = exposed(ctx, q, model, experiment, since); err != nil {
			return err
		}
		return q.QueryRowContext(ctx, `SELECT COALESCE(sum(dropped), 0) FROM registry_outcome_marks`).Scan(&out.Dropped)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// outcomeRow is a row of sums as it is stored.
type outcomeRow struct {
	outcomeKey

	sums *registryv1.OutcomeSums
}

func outcomeRows(ctx context.Context, q querier, where string, args ...any) ([]outcomeRow, error) {
	out, err := collect(ctx, q, func(row scanner) (r outcomeRow, err error) {
		var raw []byte
		err = row.Scan(&r.model, &r.experiment, &r.width, &r.bucket, &r.arm, &r.version, &r.digest, &r.segment, &r.prompt, &raw)
		if err != nil {
			return r, err
		}
		r.sums = new(registryv1.OutcomeSums)
		return r, proto.Unmarshal(raw, r.sums)
	}, `SELECT model, experiment, width, bucket, arm, version, digest, segment, prompt, sums FROM registry_outcomes WHERE `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("sums: %w", err)
	}
	return out, nil
}

// mergedOutcomes puts sums of all times together.
func mergedOutcomes(rows []outcomeRow, verdicts []*registryv1.Outcome) []*registryv1.Outcome {
	type place struct {
		arm     string
		version int32
		segment string
		prompt  string
	}
	at := make(map[place]*registryv1.Outcome)
	var out []*registryv1.Outcome
	put := func(o *registryv1.Outcome) {
		p := place{o.GetArm(), o.GetVersion(), o.GetSegment(), promptColumn(o)}
		if at[p] == nil {
			at[p] = o
			out = append(out, o)
			return
		}
		outcome.Add(at[p].Sums, o.GetSums())
	}
	for _, r := range rows {
		o := &registryv1.Outcome{
			Model: r.model, Experiment: r.experiment, Arm: r.arm, Version: r.version, Digest: r.digest, Segment: r.segment, Sums: r.sums,
		}
		setPrompt(o, r.prompt)
		put(o)
	}
	for _, v := range verdicts {
		put(v)
	}
	return out
}

func exposed(ctx context.Context, q querier, model, experiment string, since time.Time) ([]Exposed, error) {
	type row struct {
		etag, arm string
		weight    int32
		subjects  int64
	}
	rows, err := collect(ctx, q, func(s scanner) (r row, err error) {
		return r, s.Scan(&r.etag, &r.arm, &r.weight, &r.subjects)
	}, `SELECT etag, arm, weight, subjects FROM registry_exposures
		WHERE model = $1 AND experiment = $2 AND update_time >= $3 ORDER BY etag, arm`, model, experiment, micros(since))
	if err != nil {
		return nil, fmt.Errorf("exposures: %w", err)
	}
	var out []Exposed
	for _, r := range rows {
		if n := len(out); n == 0 || out[n-1].Etag != r.etag {
			out = append(out, Exposed{Etag: r.etag})
		}
		e := &out[len(out)-1]
		e.Arms, e.Weights, e.Subjects = append(e.Arms, r.arm), append(e.Weights, r.weight), append(e.Subjects, r.subjects)
	}
	return out, nil
}
