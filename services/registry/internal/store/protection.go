package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// protection returns which aliases of a model are protected. A model that is not
// there is an error.
func (s *Store) protection(ctx context.Context, q querier, model string) (*registryv1.AliasProtection, error) {
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	out := &registryv1.AliasProtection{Model: model, Configured: slices.Clone(s.opts.ProtectedAliases)}
	var (
		text              string
		revision, updated int64
	)
	err := q.QueryRowContext(ctx, `SELECT patterns, revision, update_time FROM registry_alias_protection WHERE model = $1`, model).
		Scan(&text, &revision, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("protection: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &out.Protected); err != nil {
		return nil, fmt.Errorf("protection of %s: %w", model, err)
	}
	out.Etag, out.UpdateTime = etagOf(revision), timestamp(updated)
	return out, nil
}

func (s *Store) isProtected(ctx context.Context, q querier, model, alias string) (bool, error) {
	p, err := s.protection(ctx, q, model)
	if err != nil {
		return false, err
	}
	for _, pattern := range slices.Concat(p.GetConfigured(), p.GetProtected()) {
		// Patterns hold no slash and no bracket, so they are never malformed.
		if ok, _ := path.Match(pattern, alias); ok {
			return true, nil
		}
	}
	return false, nil
}

// AliasProtection returns which aliases of a model are protected.
func (s *Store) AliasProtection(ctx context.Context, model string) (*registryv1.AliasProtection, error) {
	var out *registryv1.AliasProtection
	err := s.snapshot(ctx, "alias protection", func(ctx context.Context, q querier) (err error) {
		out, err = s.protection(ctx, q, model)
		return err
	})
	return out, err
}

// SetAliasProtection sets the patterns of a model's protected aliases when what
// is there has the given etag. A list that leaves out a pattern that is there
// needs an approval: the protection stays as it is, and the change that waits
// comes back.
func (s *Store) SetAliasProtection(ctx context.Context, actor, model string, patterns []string, etag, reason string) (
	out *registryv1.AliasProtection, pending *registryv1.AliasChange, err error,
) {
	patterns = slices.Clone(patterns)
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	err = s.change(ctx, actor, model, aliasProtectionSet, func(ctx context.Context, c *change) (err error) {
		pending = nil
		if out, err = s.protection(ctx, c.tx, model); err != nil {
			return err
		}
		if err := compareEtag(fmt.Sprintf("the protection of %q", model), etag, out.GetEtag()); err != nil {
			return err
		}
		if slices.Equal(patterns, out.GetProtected()) {
			return errUnchanged
		}
		for _, p := range out.GetProtected() {
			if !slices.Contains(patterns, p) {
				pending, err = s.askForProtection(ctx, c, out, patterns, reason)
				return err
			}
		}
		out, err = s.putProtection(ctx, c, patterns)
		return err
	})
	return out, pending, err
}

// putProtection sets the patterns and ends what was asked of them before.
func (s *Store) putProtection(ctx context.Context, c *change, patterns []string) (*registryv1.AliasProtection, error) {
	text, err := json.Marshal(patterns)
	if err != nil {
		return nil, fmt.Errorf("patterns: %w", err)
	}
	err = c.exec(ctx, `INSERT INTO registry_alias_protection (model, patterns, revision, update_time) VALUES ($1, $2, $3, $4)
		ON CONFLICT (model) DO UPDATE SET patterns = excluded.patterns, revision = excluded.revision, update_time = excluded.update_time`,
		c.model, string(text), c.revision, micros(c.now))
	if err != nil {
		return nil, err
	}
	if err := c.supersede(ctx, ""); err != nil {
		return nil, err
	}
	return s.protection(ctx, c.tx, c.model)
}
