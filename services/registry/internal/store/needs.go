package store

import (
	"context"
	"fmt"
	"slices"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// neededVersions are the versions of the models from $1 to $2 that something
// needs: they are sent to watchers whatever their age, and cannot be deleted.
// What comes to need versions is added here and to needs.
const neededVersions = `
	SELECT model, version FROM registry_aliases WHERE model >= $1 AND model <= $2
	UNION SELECT model, version FROM registry_arms WHERE model >= $1 AND model <= $2
	UNION SELECT model, version FROM registry_experiment_versions WHERE model >= $1 AND model <= $2`

// maxNamed is how many needs of one kind an error names.
const maxNamed = 10

// needs names, for people, what needs a version of a model, or with version 0 the
// model itself.
func (s *Store) needs(ctx context.Context, q querier, model string, version int32) ([]string, error) {
	named := func(what, query string) ([]string, error) {
		out, err := collect(ctx, q, func(row scanner) (string, error) {
			var name string
			err := row.Scan(&name)
			return what + ` "` + name + `"`, err
		}, query, model, version, maxNamed)
		if err != nil {
			return nil, fmt.Errorf("what needs %q: %w", model, err)
		}
		return out, nil
	}
	aliases, err := named("alias", `SELECT name FROM registry_aliases
		WHERE model = $1 AND ($2 = 0 OR version = $2) ORDER BY name LIMIT $3`)
	if err != nil {
		return nil, err
	}
	if version == 0 {
		var splits int
		if err := q.QueryRowContext(ctx, `SELECT count(*) FROM registry_splits WHERE model = $1`, model).Scan(&splits); err != nil {
			return nil, fmt.Errorf("split: %w", err)
		}
		if splits > 0 {
			aliases = append(aliases, "the split")
		}
		experiments, err := s.experimentsNeeding(ctx, q, model, func(*registryv1.Experiment) bool { return true })
		if err != nil {
			return nil, err
		}
		rollouts, err := s.rolloutNeeding(ctx, q, model, 0)
		return slices.Concat(aliases, experiments, rollouts), err
	}
	arms, err := named("arm", `SELECT name FROM registry_arms
		WHERE model = $1 AND version = $2 ORDER BY position LIMIT $3`)
	if err != nil {
		return nil, err
	}
	experiments, err := s.experimentsNeeding(ctx, q, model, needsVersion(version))
	if err != nil {
		return nil, err
	}
	rollouts, err := s.rolloutNeeding(ctx, q, model, version)
	return slices.Concat(aliases, arms, experiments, rollouts), err
}
