package store

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"

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
	// Owner, Card, Licence and Tenant are the new ones; nil leaves them.
	Owner, Card, Licence, Tenant *string
}

// UpdateModel changes what is said of a model and returns it. What
// changes nothing uses up no revision.
func (s *Store) UpdateModel(ctx context.Context, actor, name string, u Update) (*registryv1.Model, error) {
	var out *registryv1.Model
	err := s.change(ctx, actor, name, modelUpdated, func(ctx context.Context, c *change) (err error) {
		if out, err = s.model(ctx, c.tx, name); err != nil {
			return err
		}
		before := proto.CloneOf(out)
		u.apply(out)
		if n := len(out.GetLabels()); n > maxLabels {
			return apierr.New(apierr.FailedPrecondition, "the model %q would have %d labels, and may have %d", name, n, maxLabels).
				WithField("labels")
		}
		if proto.Equal(before, out) {
			return errUnchanged
		}
		text, err := json.Marshal(out.GetLabels())
		if err != nil {
			return fmt.Errorf("labels: %w", err)
		}
		out, err = scanModel(c.tx.QueryRowContext(ctx, `UPDATE registry_models
			SET display_name = $1, labels = $2, update_time = $3, owner = $4, card = $5, licence = $6, tenant = $7
			WHERE name = $8 RETURNING `+modelColumns,
			out.GetDisplayName(), string(text), micros(c.now), out.GetOwner(), out.GetCard(), out.GetLicence(), out.GetTenant(), name))
		if err != nil {
			return err
		}
		return c.indexModel(ctx, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// apply changes m.
func (u Update) apply(m *registryv1.Model) {
	for to, from := range map[*string]*string{
		&m.DisplayName: u.DisplayName, &m.Owner: u.Owner, &m.Card: u.Card, &m.Licence: u.Licence, &m.Tenant: u.Tenant,
	} {
		if from != nil {
			*to = *from
		}
	}
	m.Labels = merged(m.GetLabels(), u.Set, u.Remove)
}
