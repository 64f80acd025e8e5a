package store

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// importPrompt brings in a prompt with its versions, aliases and their history.
func (s *Store) importPrompt(ctx context.Context, c *change, p *registryv1.ArchivedPrompt, conflict registryv1.ImportConflict) (registryv1.ImportOutcome, error) {
	name := p.GetPrompt().GetName()
	if !names.MatchString(name) {
		return 0, apierr.Invalid("models", "%q is not a prompt's name", name)
	}
	outcome, err := s.takePromptsPlace(ctx, c, p, conflict)
	if err != nil || !changes(outcome) {
		return outcome, err
	}
	if err := c.after(ctx, p.GetAliasHistory(), nil); err != nil {
		return 0, err
	}
	if n := len(p.GetVersions()); n == 0 || n > maxPromptVersions {
		return 0, apierr.Invalid("models", "the prompt %q has %d versions, and may have 1 to %d", name, n, maxPromptVersions)
	}
	err = c.exec(ctx, `INSERT INTO registry_prompts (name, version_count, create_time, update_time) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET version_count = excluded.version_count, create_time = excluded.create_time, update_time = excluded.update_time`,
		name, len(p.GetVersions()), micros(p.GetPrompt().GetCreateTime().AsTime()), micros(c.now))
	if err != nil {
		return 0, err
	}
	for i, v := range p.GetVersions() {
		if int(v.GetNumber()) != i+1 || v.GetPrompt() != name {
			return 0, apierr.Invalid("models", "version %d of the prompt %q is not in its place", v.GetNumber(), name)
		}
		spec, err := encode(v.GetSpec())
		if err != nil {
			return 0, err
		}
		err = c.exec(ctx, `INSERT INTO registry_prompt_versions (prompt, number, digest, spec, description, create_time)
			VALUES ($1, $2, $3, $4, $5, $6)`, name, v.GetNumber(), v.GetDigest(), spec, v.GetDescription(), micros(v.GetCreateTime().AsTime()))
		if err != nil {
			return 0, err
		}
	}
	if err := s.putPromptAliases(ctx, c, p); err != nil {
		return 0, err
	}
	return outcome, inField(s.checkPromptFits(ctx, c, name), "models")
}

func (s *Store) putPromptAliases(ctx context.Context, c *change, p *registryv1.ArchivedPrompt) error {
	name := p.GetPrompt().GetName()
	if n := len(p.GetPrompt().GetAliases()); n > s.opts.MaxAliases {
		return apierr.New(apierr.FailedPrecondition, "the prompt %q would have %d aliases, and may have %d", name, n, s.opts.MaxAliases).WithField("models")
	}
	aliases := make([]*registryv1.Alias, 0, len(p.GetPrompt().GetAliases()))
	last := ""
	for _, a := range p.GetPrompt().GetAliases() {
		number := int(a.GetVersion())
		if checkAliasName(a.GetName()) != nil || a.GetName() <= last || number < 1 || number > len(p.GetVersions()) {
			return apierr.Invalid("models", "%q is no alias of the prompt %q in its place", a.GetName(), name)
		}
		last = a.GetName()
		err := c.exec(ctx, `INSERT INTO registry_prompt_aliases (prompt, name, version, revision, update_time) VALUES ($1, $2, $3, $4, $5)`,
			name, a.GetName(), a.GetVersion(), c.revision, micros(c.now))
		if err != nil {
			return err
		}
		aliases = append(aliases, &registryv1.Alias{Name: a.GetName(), Version: a.GetVersion(), Digest: p.GetVersions()[number-1].GetDigest()})
	}
	return c.importAliasHistory(ctx, name, aliases, p.GetAliasHistory())
}

// checkArmsKeep refuses to replace a prompt by one that lacks what an arm names, or
// has something else by that number.
func (c *change) checkArmsKeep(ctx context.Context, there, p *registryv1.ArchivedPrompt) error {
	needing, err := collect(ctx, c.tx, func(row scanner) (string, error) {
		var (
			model, experiment, alias string
			version                  int
		)
		if err := row.Scan(&model, &experiment, &version, &alias); err != nil {
			return "", err
		}
		keeps := version > 0 && version <= len(p.GetVersions()) && version <= len(there.GetVersions()) &&
			p.GetVersions()[version-1].GetDigest() == there.GetVersions()[version-1].GetDigest()
		if alias != "" {
			keeps = slices.ContainsFunc(p.GetPrompt().GetAliases(), func(a *registryv1.PromptAlias) bool { return a.GetName() == alias })
		}
		if keeps {
			return "", nil
		}
		return armsOf(model, experiment), nil
	}, `SELECT DISTINCT model, experiment, version, alias FROM registry_arm_prompts WHERE prompt = $1 ORDER BY model, experiment`, there.GetPrompt().GetName())
	if err != nil {
		return fmt.Errorf("arms that name a prompt: %w", err)
	}
	needing = slices.Compact(slices.DeleteFunc(needing, func(s string) bool { return s == "" }))
	return refuseNeeded(fmt.Sprintf("what the prompt %q is here, and in the archive is not,", there.GetPrompt().GetName()), "models", needing[:min(len(needing), 10)])
}

// takePromptsPlace decides what becomes of a prompt, and empties the one that it
// replaces.
func (s *Store) takePromptsPlace(ctx context.Context, c *change, p *registryv1.ArchivedPrompt, conflict registryv1.ImportConflict) (registryv1.ImportOutcome, error) {
	name := p.GetPrompt().GetName()
	list, err := prompts(ctx, c.tx, `name = $1`, name)
	if err != nil {
		return 0, err
	}
	if len(list) == 0 {
		var all int
		if err := c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_prompts`).Scan(&all); err != nil {
			return 0, fmt.Errorf("count prompts: %w", err)
		}
		if all >= s.opts.MaxModels {
			return 0, apierr.New(apierr.FailedPrecondition, "the registry holds %d prompts, as many as it may", all)
		}
		return registryv1.ImportOutcome_IMPORT_OUTCOME_CREATED, nil
	}
	there, err := s.exportPrompt(ctx, c.tx, list[0])
	if err != nil {
		return 0, err
	}
	if proto.Equal(movedPrompt(there), movedPrompt(p)) {
		return registryv1.ImportOutcome_IMPORT_OUTCOME_UNCHANGED, nil
	}
	//exhaustive:ignore
	switch conflict {
	case registryv1.ImportConflict_IMPORT_CONFLICT_SKIP:
		return registryv1.ImportOutcome_IMPORT_OUTCOME_SKIPPED, nil
	case registryv1.ImportConflict_IMPORT_CONFLICT_REPLACE:
		if err := c.checkArmsKeep(ctx, there, p); err != nil {
			return 0, err
		}
		kept := map[string]bool{}
		for _, a := range p.GetPrompt().GetAliases() {
			kept[a.GetName()] = true
		}
		for _, a := range there.GetPrompt().GetAliases() {
			if kept[a.GetName()] {
				continue
			}
			if err := c.recordAlias(ctx, aliasMove{name: a.GetName(), reason: importReason}); err != nil {
				return 0, err
			}
		}
		// The prompt's own row stays: arms refer to it.
		for _, table := range []string{"registry_prompt_aliases WHERE prompt", "registry_prompt_versions WHERE prompt"} {
			if err := c.exec(ctx, `DELETE FROM `+table+` = $1`, name); err != nil {
				return 0, err
			}
		}
		return registryv1.ImportOutcome_IMPORT_OUTCOME_REPLACED, nil
	default:
		return 0, notTheArchives("prompt", name)
	}
}

// movedPrompt is what of a prompt an archive carries over, for comparing.
func movedPrompt(p *registryv1.ArchivedPrompt) *registryv1.ArchivedPrompt {
	out := proto.CloneOf(p)
	out.AliasHistory = nil
	out.Prompt.UpdateTime, out.Prompt.VersionCount = nil, 0
	for _, a := range out.GetPrompt().GetAliases() {
		a.Etag, a.UpdateTime, a.Digest = "", nil, ""
	}
	return out
}
