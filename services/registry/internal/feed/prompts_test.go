package feed_test

import (
	"testing"
	"testing/synctest"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/feed"
)

// Prompts come before the models, to those that asked for them, and bring the
// revision with what follows them.
func TestPromptsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3)
		p := &registryv1.PromptState{Prompt: &registryv1.Prompt{Name: "p"}}
		r.source.set(func(s *fakeSource) { s.prompts = []*registryv1.PromptState{p} })
		w, without := r.watchFor(feed.Wanted{Prompts: true}), r.watch(0)
		first, last := w.next().GetSnapshot(), w.next()
		if !first.GetFirst() || first.GetLast() || !first.GetWithPrompts() || len(first.GetPrompts()) != 1 {
			t.Errorf("first comes %v", first)
		}
		if got := last.GetSnapshot(); got.GetFirst() || !got.GetLast() || !got.GetWithPrompts() || last.GetRevision() != 3 {
			t.Errorf("last comes %v", last)
		}
		if got := without.next().GetSnapshot(); !got.GetFirst() || !got.GetLast() || got.GetWithPrompts() || len(got.GetPrompts()) != 0 {
			t.Errorf("who did not ask gets %v", got)
		}
		r.source.set(func(s *fakeSource) { s.revision, s.changed = 4, s.prompts })
		r.feed.Wake()
		if m := w.next(); m.GetPromptChanged().GetPrompt().GetName() != "p" || m.GetRevision() != 3 {
			t.Errorf("first comes %v", m)
		}
		w.wantChange(4)
		without.wantChange(4)
		// Without a model that changed, a heartbeat brings the revision.
		r.source.set(func(s *fakeSource) { s.revision, s.only = 5, true })
		r.feed.Wake()
		if m := w.next(); m.GetPromptChanged() == nil || m.GetRevision() != 4 {
			t.Errorf("first comes %v", m)
		}
		w.wantHeartbeat(5)
		without.wantHeartbeat(5)
	})
}
