package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// maxLabels is how many labels a model may have.
const maxLabels = 64

// Update is what is changed of a model.
type Update struct {
	// DisplayName is the new one; nil leaves it.
	DisplayName *string
	// Set are labels that are added or replaced, Remove those that go.
	Set    map[string]string
	Remove []string
}

// UpdateModel changes a model's display name and labels and returns it. What
// changes nothing uses up no revision.
func (s *Store) UpdateModel(ctx context.Context, actor, name string, u Update) (*registryv1.Model, error) {
	var out *registryv1.Model
	err := s.change(ctx, actor, name, modelUpdated, func(ctx context.Context, c *change) (err error) {
		if out, err = s.model(ctx, c.tx, name); err != nil {
			return err
		}
		display, labels := out.GetDisplayName(), maps.Clone(out.GetLabels())
		if labels == nil {
			labels = make(map[string]string)
		}
		if u.DisplayName != nil {
			display = *u.DisplayName
		}
		maps.Copy(labels, u.Set)
		for _, label := range u.Remove {
			delete(labels, label)
		}
		if len(labels) > maxLabels {
			return apierr.New(apierr.FailedPrecondition, "the model %q would have %d labels, and may have %d", name, len(labels), maxLabels).
				WithField("labels")
		}
		if display == out.GetDisplayName() && maps.Equal(labels, out.GetLabels()) {
			return errUnchanged
		}
		text, err := json.Marshal(labels)
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		out, err = scanModel(c.tx.QueryRowContext(ctx, `UPDATE registry_models
			SET display_name = $1, labels = $2, update_time = $3 WHERE name = $4 RETURNING `+modelColumns,
			display, string(text), micros(c.now), name))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
