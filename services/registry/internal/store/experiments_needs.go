package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// experimentsNeeding names the experiments, maxNamed at most, that are not concluded and
// that the test is true of: what they need must not go.
func (s *Store) experimentsNeeding(ctx context.Context, q querier, model string, needs func(*registryv1.Experiment) bool) ([]string, error) {
	list, err := collect(ctx, q, scanExperiment, `SELECT `+experimentColumns+` FROM registry_experiments
		WHERE model = $1 AND state <> $2 ORDER BY name`, model, int32(concluded))
	if err != nil {
		return nil, fmt.Errorf("experiments: %w", err)
	}
	var out []string
	for _, e := range list {
		if needs(e) && len(out) < maxNamed {
			out = append(out, `experiment "`+e.GetName()+`"`)
		}
	}
	return out, nil
}

// needsVersion is the test for a version that shall go.
func needsVersion(number int32) func(*registryv1.Experiment) bool {
	return func(e *registryv1.Experiment) bool {
		return slices.Contains(armVersions(e), number) || number != 0 && e.GetShadow().GetVersion() == number
	}
}

// needsAlias is the test for an alias that shall go.
func needsAlias(name string) func(*registryv1.Experiment) bool {
	return func(e *registryv1.Experiment) bool {
		return e.GetShadow().GetAlias() == name ||
			slices.ContainsFunc(e.GetArms(), func(a *registryv1.ExperimentArm) bool { return a.GetAlias() == name })
	}
}

// refuseNeeded is the error for what experiments need; nil when none does.
func refuseNeeded(what, field string, needing []string) error {
	if len(needing) == 0 {
		return nil
	}
	list := strings.Join(needing, ", ")
	return apierr.New(apierr.FailedPrecondition, "%s is needed by %s: conclude or change that first", what, list).
		WithField(field).WithMetadata(metaNeeds, list)
}
