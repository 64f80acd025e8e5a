package store_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

func (s suite) modelUpdates(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	_, err := e.CreateModel(ctx, "ana", &registryv1.Model{Name: "m", DisplayName: "M", Labels: map[string]string{"team": "search", "old": "1"}})
	check(t, err)
	before := e.revision()
	e.clock.Advance(time.Minute)
	got, err := e.UpdateModel(ctx, "bob", "m", store.Update{Set: map[string]string{"team": "chat", "new": "2"}, Remove: []string{"old", "never"}})
	check(t, err)
	if want := map[string]string{"team": "chat", "new": "2"}; !maps.Equal(got.GetLabels(), want) || got.GetDisplayName() != "M" ||
		!got.GetUpdateTime().AsTime().Equal(start.Add(time.Minute)) {
		t.Errorf("got %v", got)
	}
	if read, err := e.GetModel(ctx, "m"); err != nil || !maps.Equal(read.GetLabels(), got.GetLabels()) {
		t.Errorf("read %v, %v", read, err)
	}
	if e.revision() != before+1 {
		t.Errorf("a change took %d revisions", e.revision()-before)
	}
	empty := ""
	got, err = e.UpdateModel(ctx, "bob", "m", store.Update{DisplayName: &empty})
	check(t, err)
	if got.GetDisplayName() != "" || len(got.GetLabels()) != 2 {
		t.Errorf("got %v", got)
	}
	before = e.revision()
	got, err = e.UpdateModel(ctx, "bob", "m", store.Update{DisplayName: &empty, Set: map[string]string{"new": "2"}, Remove: []string{"never"}})
	check(t, err)
	if e.revision() != before || got.GetName() != "m" {
		t.Errorf("what changed nothing took %d revisions, and returned %v", e.revision()-before, got)
	}
	many := make(map[string]string)
	for i := range 63 {
		many[fmt.Sprintf("l%d", i)] = "x"
	}
	_, err = e.UpdateModel(ctx, "bob", "m", store.Update{Set: many})
	wantReason(t, err, apierr.FailedPrecondition, "labels")
	_, err = e.UpdateModel(ctx, "bob", "m", store.Update{Set: many, Remove: []string{"new"}})
	check(t, err)
	_, err = e.UpdateModel(ctx, "bob", "other", store.Update{})
	wantReason(t, err, apierr.ModelNotFound, "model")
}
