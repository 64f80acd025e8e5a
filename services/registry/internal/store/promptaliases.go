package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const promptAliasQuery = `SELECT a.prompt, a.name, a.version, v.digest, a.revision, a.update_time
	FROM registry_prompt_aliases a JOIN registry_prompt_versions v ON v.prompt = a.prompt AND v.number = a.version `

func scanPromptAlias(row scanner) (*registryv1.PromptAlias, error) {
	var (
		a                 registryv1.PromptAlias
		revision, updated int64
	)
	if err := row.Scan(&a.Prompt, &a.Name, &a.Version, &a.Digest, &revision, &updated); err != nil {
		return nil, err
	}
	a.Etag, a.UpdateTime = etagOf(revision), timestamp(updated)
	return &a, nil
}

// ChangePromptAlias is ChangeAlias for an alias of a prompt, which is never
// protected: w.Model is the prompt.
func (s *Store) ChangePromptAlias(ctx context.Context, actor string, w AliasWish) (*registryv1.PromptAlias, error) {
	k := promptAliasDeleted
	if w.Version != 0 {
		k = promptAliasSet
		if err := checkAliasName(w.Alias); err != nil {
			return nil, err
		}
	}
	var out *registryv1.PromptAlias
	err := s.change(ctx, actor, promptPrefix+w.Model, k, func(ctx context.Context, c *change) (err error) {
		if out, err = s.promptAliasIf(ctx, c, w.Model, w.Alias, w.Etag); err != nil {
			return err
		}
		if w.Version == 0 && out == nil {
			return notFound("alias", "the prompt %q has no alias %q", w.Model, w.Alias)
		}
		out, err = s.movePromptAlias(ctx, c, out, w.Model, aliasMove{name: w.Alias, version: w.Version, reason: w.Reason})
		return err
	})
	return out, err
}

// RollbackPromptAlias is RollbackAlias for an alias of a prompt. It returns nil when
// the alias is not there afterwards.
func (s *Store) RollbackPromptAlias(ctx context.Context, actor, prompt, alias string, r Rollback) (*registryv1.PromptAlias, error) {
	var out *registryv1.PromptAlias
	err := s.change(ctx, actor, promptPrefix+prompt, promptRolledBack, func(ctx context.Context, c *change) (err error) {
		if out, err = s.promptAliasIf(ctx, c, prompt, alias, r.Etag); err != nil {
			return err
		}
		was, err := c.aliasAt(ctx, alias, r.Revision)
		if err != nil {
			return err
		}
		// Versions of prompts are never deleted: its number is still the same one.
		out, err = s.movePromptAlias(ctx, c, out, prompt,
			aliasMove{name: alias, version: was.GetVersion(), reason: r.Reason, rollbackTo: r.Revision})
		return err
	})
	return out, err
}

// promptAliasIf returns an alias that has the given etag; nil when there is none and
// the etag says so.
func (s *Store) promptAliasIf(ctx context.Context, c *change, prompt, alias, etag string) (*registryv1.PromptAlias, error) {
	there, err := s.promptAlias(ctx, c.tx, prompt, alias)
	if err != nil {
		return nil, err
	}
	return there, compareEtag(fmt.Sprintf("the alias %q of the prompt %q", alias, prompt), etag, there.GetEtag())
}

// promptAlias returns an alias, or nil when the prompt has none of that name.
func (s *Store) promptAlias(ctx context.Context, q querier, prompt, name string) (*registryv1.PromptAlias, error) {
	a, err := scanPromptAlias(q.QueryRowContext(ctx, promptAliasQuery+`WHERE a.prompt = $1 AND a.name = $2`, prompt, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // what is not there is no error here
	}
	return a, err
}

// movePromptAlias makes the change. It is not moveOrAsk of models' aliases: nothing
// of a prompt's is protected, waits, or needs a signature.
func (s *Store) movePromptAlias(ctx context.Context, c *change, there *registryv1.PromptAlias, prompt string, m aliasMove) (*registryv1.PromptAlias, error) {
	if there.GetVersion() == m.version {
		return there, errUnchanged
	}
	if m.version == 0 {
		if err := s.checkPromptAliasFree(ctx, c, prompt, m.name); err != nil {
			return nil, err
		}
		if err := c.exec(ctx, `DELETE FROM registry_prompt_aliases WHERE prompt = $1 AND name = $2`, prompt, m.name); err != nil {
			return nil, err
		}
		return nil, c.promptChanged(ctx, prompt, m)
	}
	err := c.tx.QueryRowContext(ctx, `SELECT digest FROM registry_prompt_versions WHERE prompt = $1 AND number = $2`, prompt, m.version).
		Scan(&m.digest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("version", "there is no prompt %q with the version %d", prompt, m.version)
	}
	if err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	err = c.exec(ctx, `INSERT INTO registry_prompt_aliases (prompt, name, version, revision, update_time) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (prompt, name) DO UPDATE SET version = excluded.version, revision = excluded.revision, update_time = excluded.update_time`,
		prompt, m.name, m.version, c.revision, micros(c.now))
	if err != nil {
		return nil, err
	}
	var count int
	err = c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_prompt_aliases WHERE prompt = $1`, prompt).Scan(&count)
	if err != nil {
		return nil, fmt.Errorf("count aliases: %w", err)
	}
	if count > s.opts.MaxAliases {
		return nil, apierr.New(apierr.FailedPrecondition, "the prompt %q has as many aliases as it may, %d", prompt, s.opts.MaxAliases).
			WithField("alias")
	}
	if err := s.checkPromptFits(ctx, c, prompt); err != nil {
		return nil, err
	}
	if err := c.promptChanged(ctx, prompt, m); err != nil {
		return nil, err
	}
	return s.promptAlias(ctx, c.tx, prompt, m.name)
}

// promptChanged notes on the prompt and in the alias's history that it changed.
func (c *change) promptChanged(ctx context.Context, prompt string, m aliasMove) error {
	if err := c.exec(ctx, `UPDATE registry_prompts SET update_time = $1 WHERE name = $2`, micros(c.now), prompt); err != nil {
		return err
	}
	return c.recordAlias(ctx, m)
}
