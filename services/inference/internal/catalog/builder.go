package catalog

import (
	"errors"
	"fmt"

	"github.com/poterne/poterne/pkg/signing"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// builder turns the messages of one watch stream into snapshots.
type builder struct {
	// base is the last whole snapshot, or nil.
	base *Snapshot
	// parts collects a snapshot that is not whole yet; open says there is one.
	parts   []*registryv1.ModelState
	prompts []*registryv1.PromptState
	open    bool
	trust   signing.Policy
}

// apply returns the snapshot after msg, or nil while a snapshot is not whole.
func (b *builder) apply(msg *registryv1.WatchResponse) (*Snapshot, error) {
	if part := msg.GetSnapshot(); part != nil {
		return b.part(msg.GetRevision(), part)
	}
	if b.open {
		return nil, errors.New("a change came in the middle of a snapshot")
	}
	if b.base == nil {
		if msg.GetHeartbeat() != nil {
			return nil, nil //nolint:nilnil // alive, and nothing known yet
		}
		return nil, errors.New("a change came before any snapshot")
	}
	switch ev := msg.GetEvent().(type) {
	case *registryv1.WatchResponse_Changed:
		if err := checkState(ev.Changed); err != nil {
			return nil, err
		}
		b.base = b.base.with(msg.GetRevision(), ev.Changed)
	case *registryv1.WatchResponse_PromptChanged:
		if err := checkPrompt(ev.PromptChanged); err != nil {
			return nil, err
		}
		b.base = b.base.withPrompt(msg.GetRevision(), ev.PromptChanged)
	case *registryv1.WatchResponse_Removed:
		b.base = b.base.without(msg.GetRevision(), ev.Removed)
	case *registryv1.WatchResponse_Heartbeat:
		if msg.GetRevision() > b.base.Revision() {
			b.base = b.base.at(msg.GetRevision())
		}
	default:
		// A newer registry says something that this build does not know: the
		// revision must not move on without it.
		return nil, fmt.Errorf("an event of an unknown kind came at revision %d", msg.GetRevision())
	}
	if b.base.Len() > MaxModels || len(b.base.prompts) > MaxModels {
		return nil, errTooMany
	}
	return b.base, nil
}

func (b *builder) part(revision int64, part *registryv1.SnapshotPart) (*Snapshot, error) {
	switch {
	case part.GetFirst():
		b.parts, b.prompts, b.open = nil, nil, true
	case !b.open:
		return nil, errors.New("a snapshot began without its first part")
	}
	for _, s := range part.GetModels() {
		if err := checkState(s); err != nil {
			return nil, err
		}
	}
	for _, p := range part.GetPrompts() {
		if err := checkPrompt(p); err != nil {
			return nil, err
		}
	}
	b.parts, b.prompts = append(b.parts, part.GetModels()...), append(b.prompts, part.GetPrompts()...)
	if len(b.parts) > MaxModels || len(b.prompts) > MaxModels {
		return nil, errTooMany
	}
	if !part.GetLast() {
		return nil, nil //nolint:nilnil // not whole yet
	}
	b.base = newSnapshot(revision, b.parts, b.trust).prompting(readPrompts(b.prompts), part.GetWithPrompts())
	b.parts, b.prompts, b.open = nil, nil, false
	return b.base, nil
}

var errTooMany = fmt.Errorf("the registry has more than %d models or prompts", MaxModels)

func checkPrompt(s *registryv1.PromptState) error {
	if s.GetPrompt().GetName() == "" {
		return errors.New("a prompt without a name came")
	}
	return nil
}

func checkState(s *registryv1.ModelState) error {
	if s.GetModel().GetName() == "" {
		return errors.New("a model without a name came")
	}
	return nil
}
