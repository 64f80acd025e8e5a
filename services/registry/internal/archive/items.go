package archive

import (
	"io"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Items reads an archive and hands on each thing with all that is its own, as Read
// does records.
func Items(in io.Reader, each func(Item) error) error {
	var at Item
	done := func() error {
		item := at
		at = Item{}
		if item == (Item{}) {
			return nil
		}
		return each(item)
	}
	err := Read(in, func(line int64, r *registryv1.ArchiveRecord) error {
		if begins(r) {
			if err := done(); err != nil {
				return err
			}
			at = Item{Model: r.GetModel(), Prompt: r.GetPrompt(), Webhook: r.GetWebhook()}
			return nil
		}
		if !at.add(r) {
			return damaged("line %d does not belong to what is before it", line)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return done()
}

func begins(r *registryv1.ArchiveRecord) bool {
	return r.GetModel() != nil || r.GetPrompt() != nil || r.GetWebhook() != nil
}

// add adds a record to what it belongs to, and reports whether it does.
func (i *Item) add(r *registryv1.ArchiveRecord) bool {
	m, p := i.Model, i.Prompt
	switch r := r.GetRecord().(type) {
	case *registryv1.ArchiveRecord_AliasState:
		switch {
		case m != nil:
			m.AliasHistory = append(m.AliasHistory, r.AliasState)
		case p != nil:
			p.AliasHistory = append(p.AliasHistory, r.AliasState)
		}
		return m != nil || p != nil
	case *registryv1.ArchiveRecord_PromptVersion:
		if p != nil {
			p.Versions = append(p.Versions, r.PromptVersion)
		}
		return p != nil
	}
	if m == nil {
		return false
	}
	switch r := r.GetRecord().(type) {
	case *registryv1.ArchiveRecord_Version:
		m.Versions = append(m.Versions, r.Version)
	case *registryv1.ArchiveRecord_Experiment:
		m.Experiments = append(m.Experiments, r.Experiment)
	case *registryv1.ArchiveRecord_Rollout:
		m.Rollouts = append(m.Rollouts, r.Rollout)
	case *registryv1.ArchiveRecord_SplitState:
		m.SplitHistory = append(m.SplitHistory, r.SplitState)
	default:
		return false
	}
	return true
}

// PutModel writes a model: its versions come from versions, a batch at a time.
func (w *Writer) PutModel(m *registryv1.ArchivedModel, versions func(yield func(*registryv1.Version) error) error) error {
	head := &registryv1.ArchivedModel{
		Model: m.GetModel(), Aliases: m.GetAliases(), Split: m.GetSplit(), LastVersion: m.GetLastVersion(), Protected: m.GetProtected(),
	}
	if err := w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Model{Model: head}}); err != nil {
		return err
	}
	err := versions(func(v *registryv1.Version) error {
		return w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Version{Version: v}})
	})
	for _, e := range m.GetExperiments() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Experiment{Experiment: e}})
		}
	}
	for _, r := range m.GetRollouts() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Rollout{Rollout: r}})
		}
	}
	for _, st := range m.GetAliasHistory() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_AliasState{AliasState: st}})
		}
	}
	for _, st := range m.GetSplitHistory() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_SplitState{SplitState: st}})
		}
	}
	return err
}

// PutPrompt writes a prompt.
func (w *Writer) PutPrompt(p *registryv1.ArchivedPrompt) error {
	err := w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Prompt{Prompt: &registryv1.ArchivedPrompt{Prompt: p.GetPrompt()}}})
	for _, v := range p.GetVersions() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_PromptVersion{PromptVersion: v}})
		}
	}
	for _, st := range p.GetAliasHistory() {
		if err == nil {
			err = w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_AliasState{AliasState: st}})
		}
	}
	return err
}

// PutWebhook writes a webhook, of which an archive has no secret.
func (w *Writer) PutWebhook(h *registryv1.Webhook) error {
	return w.Write(&registryv1.ArchiveRecord{Record: &registryv1.ArchiveRecord_Webhook{Webhook: h}})
}
