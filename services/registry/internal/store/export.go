package store

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// ExportPage is some of everything, by model and version.
type ExportPage struct {
	Models []*registryv1.ArchivedModel
	// AfterModel and AfterVersion are where the next page goes on.
	AfterModel   string
	AfterVersion int32
	// Last says that there is no next page.
	Last     bool
	Revision int64
}

// exportVersions is how many versions are read at once.
const exportVersions = 64

// Export returns what comes after a version of a model, as much as makes a message.
// With the version 0 that model is done.
func (s *Store) Export(ctx context.Context, afterModel string, afterVersion int32) (*ExportPage, error) {
	var out *ExportPage
	err := s.snapshot(ctx, "export", func(ctx context.Context, q querier) (err error) {
		out = &ExportPage{AfterModel: afterModel, AfterVersion: afterVersion}
		if out.Revision, _, err = s.revision(ctx, q); err != nil {
			return err
		}
		for size := 0; size < maxBatchBytes; {
			m, err := s.exportNext(ctx, q, out)
			if err != nil || out.Last {
				return err
			}
			out.Models = append(out.Models, m)
			size += proto.Size(m)
		}
		return nil
	})
	return out, err
}

// exportNext returns the next model with its first versions, or the further
// versions of the one that was begun.
func (s *Store) exportNext(ctx context.Context, q querier, at *ExportPage) (*registryv1.ArchivedModel, error) {
	compare, number := `name > $1`, int32(0)
	if at.AfterVersion > 0 {
		compare, number = `name = $1`, at.AfterVersion
	}
	models, err := collect(ctx, q, scanModel, `SELECT `+modelColumns+` FROM registry_models
		WHERE `+compare+` AND delete_time = 0 ORDER BY name LIMIT 1`, at.AfterModel)
	if err != nil {
		return nil, fmt.Errorf("next model: %w", err)
	}
	if len(models) == 0 {
		if number > 0 { // it was deleted meanwhile; the revision tells
			at.AfterVersion = 0
			return s.exportNext(ctx, q, at)
		}
		at.Last = true
		return nil, nil //nolint:nilnil // at.Last says so
	}
	out := &registryv1.ArchivedModel{Model: models[0]}
	name := models[0].GetName()
	if number == 0 {
		if err := s.exportRest(ctx, q, out); err != nil {
			return nil, err
		}
	}
	out.Versions, err = collect(ctx, q, scanVersion, `SELECT `+versionColumns+` FROM registry_versions
		WHERE model = $1 AND number > $2 AND delete_time = 0 ORDER BY number LIMIT $3`, name, number, exportVersions)
	if err != nil {
		return nil, fmt.Errorf("versions: %w", err)
	}
	at.AfterModel, at.AfterVersion = name, 0
	if len(out.GetVersions()) == exportVersions {
		at.AfterVersion = out.GetVersions()[exportVersions-1].GetNumber()
	}
	return out, addVariantsByNumber(ctx, q, out.GetVersions())
}

// exportRest adds everything but versions.
func (s *Store) exportRest(ctx context.Context, q querier, out *registryv1.ArchivedModel) (err error) {
	name := out.GetModel().GetName()
	if err := q.QueryRowContext(ctx, `SELECT last_version FROM registry_models WHERE name = $1`, name).Scan(&out.LastVersion); err != nil {
		return fmt.Errorf("last version: %w", err)
	}
	if out.Aliases, err = collect(ctx, q, scanAlias, aliasQuery+`WHERE a.model = $1 ORDER BY a.name`, name); err != nil {
		return fmt.Errorf("aliases: %w", err)
	}
	out.Split, err = s.split(ctx, q, name)
	return err
}

// exportHead returns a model with everything but its versions; nil when it is not
// there or deleted.
func (s *Store) exportHead(ctx context.Context, q querier, name string) (*registryv1.ArchivedModel, error) {
	models, err := collect(ctx, q, scanModel, `SELECT `+modelColumns+` FROM registry_models WHERE name = $1 AND delete_time = 0`, name)
	if err != nil || len(models) == 0 {
		return nil, err
	}
	out := &registryv1.ArchivedModel{Model: models[0]}
	return out, s.exportRest(ctx, q, out)
}

// exportModel returns a model with its versions; nil when it is not there or
// deleted. With whole it has what only whole archives have.
func (s *Store) exportModel(ctx context.Context, q querier, name string, whole bool) (*registryv1.ArchivedModel, error) {
	out, err := s.exportHead(ctx, q, name)
	if err != nil || out == nil {
		return nil, err
	}
	if whole {
		if err := s.exportMore(ctx, q, out); err != nil {
			return nil, err
		}
	}
	return out, s.eachVersion(ctx, q, name, func(v *registryv1.Version) error {
		out.Versions = append(out.Versions, v)
		return nil
	})
}
