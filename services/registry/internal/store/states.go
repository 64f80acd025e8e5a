package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// states returns the whole state of the models named from first to last, by
// name: of the versions, those that are sent.
func (s *Store) states(ctx context.Context, q querier, first, last string) ([]*registryv1.ModelState, error) {
	models, err := collect(ctx, q, scanModel,
		`SELECT `+modelBrief+` FROM registry_models WHERE name >= $1 AND name <= $2 AND delete_time = 0 ORDER BY name`, first, last)
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	if len(models) == 0 {
		return nil, nil
	}
	out := make([]*registryv1.ModelState, len(models))
	byName := make(map[string]*registryv1.ModelState, len(models))
	for i, m := range models {
		out[i] = &registryv1.ModelState{Model: m}
		byName[m.GetName()] = out[i]
	}
	if err := addVersions(ctx, q, byName, first, last); err != nil {
		return nil, err
	}
	aliases, err := collect(ctx, q, scanAlias,
		aliasQuery+`WHERE a.model >= $1 AND a.model <= $2 ORDER BY a.model, a.name`, first, last)
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	for _, a := range aliases {
		st := byName[a.GetModel()] // a model with an alias cannot be deleted
		st.Aliases = append(st.Aliases, a)
	}
	if err := s.addSplits(ctx, q, byName, first, last); err != nil {
		return nil, err
	}
	if err := s.addExperiments(ctx, q, byName, first, last); err != nil {
		return nil, err
	}
	return out, s.addRollouts(ctx, q, byName, first, last)
}

// addExperiments adds those that run, in the order in which they are asked.
func (s *Store) addExperiments(ctx context.Context, q querier, states map[string]*registryv1.ModelState, first, last string) error {
	list, err := collect(ctx, q, scanExperiment, `SELECT `+experimentColumns+` FROM registry_experiments
		WHERE model >= $1 AND model <= $2 AND state = $3 ORDER BY model, name`, first, last, int32(running))
	if err != nil {
		return fmt.Errorf("experiments: %w", err)
	}
	slices.SortStableFunc(list, func(a, b *registryv1.Experiment) int { return cmp.Compare(b.GetPriority(), a.GetPriority()) })
	for _, e := range list {
		st := states[e.GetModel()]
		st.Experiments = append(st.Experiments, e)
	}
	return nil
}

// addVersions gives each state the versions that are sent: the old ones that
// something needs, and the newest.
func addVersions(ctx context.Context, q querier, states map[string]*registryv1.ModelState, first, last string) error {
	old, err := collect(ctx, q, scanVersion, `SELECT `+versionColumnsOf("v")+` FROM (`+neededVersions+`) n
		JOIN registry_models m ON m.name = n.model
		JOIN registry_versions v ON v.model = n.model AND v.number = n.version
		WHERE v.number < m.carried_from ORDER BY v.model, v.number`, first, last)
	if err != nil {
		return fmt.Errorf("needed versions: %w", err)
	}
	recent, err := collect(ctx, q, scanVersion, `SELECT `+versionColumnsOf("v")+` FROM registry_models m
		JOIN registry_versions v ON v.model = m.name AND v.number >= m.carried_from
		WHERE m.name >= $1 AND m.name <= $2 AND v.delete_time = 0 ORDER BY v.model, v.number`, first, last)
	if err != nil {
		return fmt.Errorf("versions: %w", err)
	}
	if err := addVariantsByNumber(ctx, q, old); err != nil {
		return err
	}
	if err := addVariants(ctx, q, recent, `model >= $1 AND model <= $2
		AND version >= (SELECT carried_from FROM registry_models WHERE name = model)`, first, last); err != nil {
		return err
	}
	for _, v := range slices.Concat(old, recent) {
		if st := states[v.GetModel()]; st != nil { // the model may be deleted
			st.Versions = append(st.Versions, sent(v))
		}
	}
	for _, st := range states {
		st.OmittedVersions = st.GetModel().GetVersionCount() - int32(len(st.GetVersions()))
	}
	return nil
}

func (s *Store) addSplits(ctx context.Context, q querier, states map[string]*registryv1.ModelState, first, last string) error {
	splits, err := collect(ctx, q, scanSplit,
		splitQuery+`WHERE s.model >= $1 AND s.model <= $2 ORDER BY s.model, a.position`, first, last)
	if err != nil {
		return fmt.Errorf("splits: %w", err)
	}
	for _, sp := range merge(splits) {
		states[sp.GetModel()].Split = sp
	}
	return nil
}
