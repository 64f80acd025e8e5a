package store

import (
	"context"
	"fmt"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// states returns the whole state of the models named from first to last, by
// name, in six queries.
func (s *Store) states(ctx context.Context, q querier, first, last string) ([]*registryv1.ModelState, error) {
	models, err := collect(ctx, q, scanModel,
		`SELECT `+modelColumns+` FROM registry_models WHERE name >= $1 AND name <= $2 ORDER BY name`, first, last)
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
	versions, err := collect(ctx, q, scanVersion,
		`SELECT `+versionColumns+` FROM registry_versions WHERE model >= $1 AND model <= $2 ORDER BY model, number`, first, last)
	if err != nil {
		return nil, fmt.Errorf("versions: %w", err)
	}
	if err := addVariants(ctx, q, versions, `model >= $1 AND model <= $2`, first, last); err != nil {
		return nil, err
	}
	for _, v := range versions {
		st := byName[v.GetModel()]
		st.Versions = append(st.Versions, v)
	}
	aliases, err := collect(ctx, q, scanAlias,
		aliasQuery+`WHERE a.model >= $1 AND a.model <= $2 ORDER BY a.model, a.name`, first, last)
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	for _, a := range aliases {
		st := byName[a.GetModel()]
		st.Aliases = append(st.Aliases, a)
	}
	if err := s.addSplits(ctx, q, byName, first, last); err != nil {
		return nil, err
	}
	return out, s.addRollouts(ctx, q, byName, first, last)
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
