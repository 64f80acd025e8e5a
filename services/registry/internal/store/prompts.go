package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const (
	// promptPrefix begins a prompt's name where changes and histories are kept:
	// no model's name holds a slash.
	promptPrefix = "prompts/"
	// maxPromptVersions bounds the versions of one prompt.
	maxPromptVersions = 10_000
	// maxPromptBytes bounds a template, encoded.
	maxPromptBytes = 1 << 20
)

const (
	promptVersionCreated kind = "prompt version created"
	promptAliasSet       kind = "prompt alias set"
	promptAliasDeleted   kind = "prompt alias deleted"
	promptRolledBack     kind = "prompt alias rolled back"
)

const promptVersionQuery = `SELECT prompt, number, digest, spec, description, create_time FROM registry_prompt_versions WHERE prompt = $1 `

func scanPromptVersion(row scanner) (*registryv1.PromptVersion, error) {
	var (
		v       = registryv1.PromptVersion{Spec: &registryv1.PromptSpec{}}
		spec    []byte
		created int64
	)
	if err := row.Scan(&v.Prompt, &v.Number, &v.Digest, &spec, &v.Description, &created); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(spec, v.GetSpec()); err != nil {
		return nil, fmt.Errorf("template of %s version %d: %w", v.GetPrompt(), v.GetNumber(), err)
	}
	v.CreateTime = timestamp(created)
	return &v, nil
}

// CreatePromptVersion creates a version of a prompt, which has the prompt's name,
// a digest, a template and a description; the prompt comes with its first one.
// What is there already, by its digest, is returned.
func (s *Store) CreatePromptVersion(ctx context.Context, actor string, v *registryv1.PromptVersion) (*registryv1.PromptVersion, error) {
	spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(v.GetSpec())
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if len(spec) > maxPromptBytes {
		return nil, apierr.Invalid("spec", "spec: takes %d bytes, and may take %d", len(spec), maxPromptBytes)
	}
	var out *registryv1.PromptVersion
	err = s.change(ctx, actor, promptPrefix+v.GetPrompt(), promptVersionCreated, func(ctx context.Context, c *change) (err error) {
		out, err = scanPromptVersion(c.tx.QueryRowContext(ctx, promptVersionQuery+`AND digest = $2`, v.GetPrompt(), v.GetDigest()))
		if err == nil {
			return errUnchanged
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("version: %w", err)
		}
		var number, prompts int
		err = c.tx.QueryRowContext(ctx, `INSERT INTO registry_prompts (name, version_count, create_time, update_time) VALUES ($1, 1, $2, $2)
			ON CONFLICT (name) DO UPDATE SET version_count = registry_prompts.version_count + 1, update_time = excluded.update_time
			RETURNING version_count, (SELECT count(*) FROM registry_prompts)`, v.GetPrompt(), micros(c.now)).Scan(&number, &prompts)
		switch {
		case err != nil:
			return fmt.Errorf("count versions: %w", err)
		case number > maxPromptVersions:
			return apierr.New(apierr.FailedPrecondition, "the prompt %q has %d versions, as many as it may", v.GetPrompt(), maxPromptVersions).WithField("prompt")
		case prompts > s.opts.MaxModels:
			return apierr.New(apierr.FailedPrecondition, "the registry holds as many prompts as it may")
		}
		err = c.exec(ctx, `INSERT INTO registry_prompt_versions (prompt, number, digest, spec, description, create_time)
			VALUES ($1, $2, $3, $4, $5, $6)`, v.GetPrompt(), number, v.GetDigest(), spec, v.GetDescription(), micros(c.now))
		if err != nil {
			return err
		}
		out, err = scanPromptVersion(c.tx.QueryRowContext(ctx, promptVersionQuery+`AND number = $2`, v.GetPrompt(), number))
		return err
	})
	return out, err
}

// GetPromptVersion returns a version by its number or digest, or by an alias when
// the key has neither.
func (s *Store) GetPromptVersion(ctx context.Context, prompt string, key VersionKey, alias string) (*registryv1.PromptVersion, error) {
	condition, value := `AND number = $2`, any(key.Number)
	switch {
	case key.Digest != "":
		condition, value = `AND digest = $2`, key.Digest
	case key.Number == 0:
		condition = `AND number = (SELECT version FROM registry_prompt_aliases WHERE prompt = $1 AND name = $2)`
		value = alias
	}
	v, err := scanPromptVersion(s.db.Reader().QueryRowContext(ctx, promptVersionQuery+condition, prompt, value))
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("version", "there is no prompt %q with the version %v", prompt, value)
	}
	return v, failure(ctx, err, "get version of prompt %q", prompt)
}

// ListPromptVersions returns at most limit versions without their templates,
// newest first, those numbered below before; 0 begins at the newest.
func (s *Store) ListPromptVersions(ctx context.Context, prompt string, before int64, limit int) ([]*registryv1.PromptVersion, error) {
	if before == 0 {
		before = math.MaxInt32
	}
	out, err := collect(ctx, s.db.Reader(), scanPromptVersion, promptVersionQuery+`AND number < $2 ORDER BY number DESC LIMIT $3`,
		prompt, before, limit)
	for _, v := range out {
		v.Spec = nil
	}
	if err == nil && len(out) == 0 && before == math.MaxInt32 {
		err = promptNotFound(prompt)
	}
	return out, failure(ctx, err, "list versions of prompt %q", prompt)
}

func promptNotFound(prompt string) error {
	return notFound("prompt", "there is no prompt %q", prompt)
}

func scanPrompt(row scanner) (*registryv1.Prompt, error) {
	var (
		p                registryv1.Prompt
		created, updated int64
	)
	if err := row.Scan(&p.Name, &p.VersionCount, &created, &updated); err != nil {
		return nil, err
	}
	p.CreateTime, p.UpdateTime = timestamp(created), timestamp(updated)
	return &p, nil
}

// GetPrompt returns a prompt with its aliases.
func (s *Store) GetPrompt(ctx context.Context, name string) (*registryv1.Prompt, error) {
	var out []*registryv1.Prompt
	err := s.snapshot(ctx, "get prompt", func(ctx context.Context, q querier) (err error) {
		if out, err = prompts(ctx, q, `name = $1`, name); err == nil && len(out) == 0 {
			err = promptNotFound(name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// ListPrompts returns at most limit prompts with their aliases by name, those
// after the given one.
func (s *Store) ListPrompts(ctx context.Context, after string, limit int) ([]*registryv1.Prompt, error) {
	var out []*registryv1.Prompt
	err := s.snapshot(ctx, "list prompts", func(ctx context.Context, q querier) (err error) {
		out, err = prompts(ctx, q, `name > $1 ORDER BY name LIMIT $2`, after, limit)
		return err
	})
	return out, err
}

// prompts returns prompts with their aliases, by name.
func prompts(ctx context.Context, q querier, where string, args ...any) ([]*registryv1.Prompt, error) {
	out, err := collect(ctx, q, scanPrompt, `SELECT name, version_count, create_time, update_time FROM registry_prompts WHERE `+where, args...)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	aliases, err := collect(ctx, q, scanPromptAlias, promptAliasQuery+`WHERE a.prompt >= $1 AND a.prompt <= $2 ORDER BY a.prompt, a.name`,
		out[0].GetName(), out[len(out)-1].GetName())
	if err != nil {
		return nil, fmt.Errorf("aliases: %w", err)
	}
	for _, p := range out {
		for len(aliases) > 0 && aliases[0].GetPrompt() == p.GetName() {
			p.Aliases, aliases = append(p.Aliases, aliases[0]), aliases[1:]
		}
	}
	return out, nil
}

// PromptAliasHistory is AliasHistory for an alias of a prompt.
func (s *Store) PromptAliasHistory(ctx context.Context, prompt, alias string, before int64, limit int) ([]*registryv1.AliasState, error) {
	out, err := s.AliasHistory(ctx, promptPrefix+prompt, alias, before, limit)
	for _, st := range out {
		st.Model = strings.TrimPrefix(st.GetModel(), promptPrefix)
	}
	return out, err
}
