package store

import (
	"context"
	"fmt"
	"io"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/archive"
)

// ExportAll writes everything as an archive, of one moment. out should not be slow:
// the moment is held in the database until all is written.
func (s *Store) ExportAll(ctx context.Context, out io.Writer) error {
	return s.snapshot(ctx, "export", func(ctx context.Context, q querier) error {
		revision, _, err := s.revision(ctx, q)
		if err != nil {
			return err
		}
		w, err := archive.NewWriter(out, revision, s.opts.Clock.Now().UTC())
		if err != nil {
			return err
		}
		for _, part := range []func(context.Context, querier, *archive.Writer) error{s.exportPrompts, s.exportAllModels, s.exportWebhooks} {
			if err := part(ctx, q, w); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// exportNames is how many names are read at once.
const exportNames = 256

func (s *Store) exportAllModels(ctx context.Context, q querier, w *archive.Writer) error {
	for after := ""; ; {
		names, err := collect(ctx, q, scanText, `SELECT name FROM registry_models WHERE name > $1 AND delete_time = 0 ORDER BY name LIMIT $2`,
			after, exportNames)
		if err != nil || len(names) == 0 {
			return err
		}
		for _, name := range names {
			after = name
			m, err := s.exportHead(ctx, q, name)
			if err != nil || m == nil {
				return err
			}
			if err := s.exportMore(ctx, q, m); err != nil {
				return err
			}
			carried(m)
			err = w.PutModel(m, func(yield func(*registryv1.Version) error) error { return s.eachVersion(ctx, q, name, yield) })
			if err != nil {
				return err
			}
		}
	}
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

// eachVersion hands on a model's versions by number, some at a time.
func (s *Store) eachVersion(ctx context.Context, q querier, model string, yield func(*registryv1.Version) error) error {
	for number := int32(0); ; {
		versions, err := collect(ctx, q, scanVersion, `SELECT `+versionColumns+` FROM registry_versions
			WHERE model = $1 AND number > $2 AND delete_time = 0 ORDER BY number LIMIT $3`, model, number, exportVersions)
		if err != nil || len(versions) == 0 {
			return err
		}
		if err := addVariantsByNumber(ctx, q, versions); err != nil {
			return err
		}
		for _, v := range versions {
			number = v.GetNumber()
			if err := yield(v); err != nil {
				return err
			}
		}
	}
}

// exportMore adds what only whole archives have of a model.
func (s *Store) exportMore(ctx context.Context, q querier, m *registryv1.ArchivedModel) (err error) {
	name := m.GetModel().GetName()
	m.Experiments, err = collect(ctx, q, scanExperiment, `SELECT `+experimentColumns+` FROM registry_experiments WHERE model = $1 ORDER BY name`, name)
	if err != nil {
		return fmt.Errorf("experiments: %w", err)
	}
	rollouts, err := collect(ctx, q, scanRollout, `SELECT `+rolloutColumns+` FROM registry_rollouts WHERE model = $1 ORDER BY name`, name)
	if err != nil {
		return fmt.Errorf("rollouts: %w", err)
	}
	for _, r := range rollouts {
		events, err := s.rolloutEvents(ctx, q, name, r.GetName(), 0, maxRolloutEvents*2)
		if err != nil {
			return err
		}
		m.Rollouts = append(m.Rollouts, &registryv1.ArchivedRollout{Rollout: r, Events: events})
	}
	m.AliasHistory, err = collect(ctx, q, scanAliasState, aliasStateColumns+`WHERE model = $1 ORDER BY alias, revision`, name)
	if err != nil {
		return fmt.Errorf("history of aliases: %w", err)
	}
	m.SplitHistory, err = collect(ctx, q, scanSplitState, splitStateQuery+`ORDER BY revision`, name)
	if err != nil {
		return fmt.Errorf("history of the split: %w", err)
	}
	protection, err := s.protection(ctx, q, name)
	m.Protected = protection.GetProtected()
	return err
}

// carried leaves out what each registry has of its own: etags, and the times of the
// last changes of what has none of its own here.
func carried(m *registryv1.ArchivedModel) {
	m.Model.UpdateTime, m.Model.VersionCount = nil, 0
	for _, a := range m.GetAliases() {
		a.Etag, a.UpdateTime, a.PendingChange = "", nil, ""
	}
	if sp := m.GetSplit(); sp != nil {
		sp.Etag, sp.UpdateTime = "", nil
	}
	for _, e := range m.GetExperiments() {
		e.Etag = ""
	}
	for _, r := range m.GetRollouts() {
		r.Rollout.Etag, r.Rollout.SplitEtag, r.Rollout.AliasEtag, r.Rollout.Progress = "", "", "", nil
	}
	// An alias change is not moved: who approved is in the state itself.
	for _, st := range m.GetAliasHistory() {
		st.Change = ""
	}
}

func (s *Store) exportPrompts(ctx context.Context, q querier, w *archive.Writer) error {
	for after := ""; ; {
		list, err := prompts(ctx, q, `name > $1 ORDER BY name LIMIT $2`, after, exportNames)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			after = p.GetName()
			whole, err := s.exportPrompt(ctx, q, p)
			if err != nil {
				return err
			}
			if err := w.PutPrompt(whole); err != nil {
				return err
			}
		}
	}
}

// exportPrompt returns a whole prompt, without what each registry has of its own.
func (s *Store) exportPrompt(ctx context.Context, q querier, p *registryv1.Prompt) (*registryv1.ArchivedPrompt, error) {
	out := &registryv1.ArchivedPrompt{Prompt: p}
	p.UpdateTime, p.VersionCount = nil, 0
	for _, a := range p.GetAliases() {
		a.Etag, a.UpdateTime = "", nil
	}
	var err error
	out.Versions, err = collect(ctx, q, scanPromptVersion, promptVersionQuery+`ORDER BY number`, p.GetName())
	if err != nil {
		return nil, fmt.Errorf("versions of prompt %s: %w", p.GetName(), err)
	}
	out.AliasHistory, err = collect(ctx, q, scanAliasState, aliasStateColumns+`WHERE model = $1 ORDER BY alias, revision`, promptPrefix+p.GetName())
	if err != nil {
		return nil, fmt.Errorf("history of prompt %s: %w", p.GetName(), err)
	}
	for _, st := range out.GetAliasHistory() {
		st.Model = p.GetName()
	}
	return out, nil
}

func (s *Store) exportWebhooks(ctx context.Context, q querier, w *archive.Writer) error {
	list, err := collect(ctx, q, scanWebhook, `SELECT `+webhookColumns+` FROM registry_webhooks ORDER BY name`)
	if err != nil {
		return fmt.Errorf("webhooks: %w", err)
	}
	for _, h := range list {
		if err := w.PutWebhook(plainWebhook(h)); err != nil {
			return err
		}
	}
	return nil
}

// plainWebhook is what of a webhook is moved: not its secret, and not whether it is
// active, for without a secret it cannot be.
func plainWebhook(h *registryv1.Webhook) *registryv1.Webhook {
	return &registryv1.Webhook{Name: h.GetName(), Url: h.GetUrl(), Events: h.GetEvents(), Models: h.GetModels()}
}
