package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// VersionKey names a version of a model: by its digest, or by its number when
// the digest is empty.
type VersionKey struct {
	Number int32
	Digest string
}

// condition is what the version's row meets, with what stands for $2.
func (k VersionKey) condition() (condition string, value any) {
	if k.Digest != "" {
		return `digest = $2`, k.Digest
	}
	return `number = $2`, k.Number
}

const versionColumns = `model, number, digest, spec, description, create_time, meta, delete_time, purge_time`

func scanVersion(row scanner) (*registryv1.Version, error) {
	var (
		v                        = registryv1.Version{Spec: &commonv1.ModelSpec{}}
		spec, meta               []byte
		created, deleted, purged int64
	)
	if err := row.Scan(&v.Model, &v.Number, &v.Digest, &spec, &v.Description, &created, &meta, &deleted, &purged); err != nil {
		return nil, err
	}
	if err := decodeMeta(meta, &v); err != nil {
		return nil, err
	}
	v.DeleteTime, v.PurgeTime = since(deleted), since(purged)
	if err := proto.Unmarshal(spec, v.GetSpec()); err != nil {
		return nil, fmt.Errorf("specification of %s version %d: %w", v.GetModel(), v.GetNumber(), err)
	}
	v.CreateTime = timestamp(created)
	return &v, nil
}

// maxNumber is the largest number that a reference can name.
const maxNumber = 999_999_999

// CreateVersion creates the version that has v's model, digest, specification,
// description and all that is said of it, with the next number. When the model has a version of that
// digest, that one is returned and nothing changes.
func (s *Store) CreateVersion(ctx context.Context, actor string, v *registryv1.Version) (*registryv1.Version, error) {
	// Asking first keeps repeated registrations, as at every start of a laptop,
	// from taking the lock of the writers.
	if there, err := s.GetVersion(ctx, v.GetModel(), VersionKey{Digest: v.GetDigest()}); apierr.ReasonOf(err) != apierr.NotFound {
		return there, err
	}
	spec, err := proto.MarshalOptions{Deterministic: true}.Marshal(v.GetSpec())
	if err != nil {
		return nil, fmt.Errorf("specification: %w", err)
	}
	var out *registryv1.Version
	err = s.change(ctx, actor, v.GetModel(), versionCreated, func(ctx context.Context, c *change) error {
		out, err = s.wholeVersion(ctx, c.tx, v.GetModel(), VersionKey{Digest: v.GetDigest()})
		if err == nil {
			return errUnchanged
		}
		if apierr.ReasonOf(err) != apierr.NotFound {
			return err
		}
		if out, err = s.insertVersion(ctx, c, v, spec); err != nil {
			return err
		}
		return c.refer(ctx, v.GetSpec(), out.GetNumber(), "")
	})
	return out, err
}

func (s *Store) insertVersion(ctx context.Context, c *change, v *registryv1.Version, spec []byte) (*registryv1.Version, error) {
	if err := s.checkInsert(ctx, c, v); err != nil {
		return nil, err
	}
	meta, err := encodeMeta(v)
	if err != nil {
		return nil, err
	}
	var (
		bytes  = bytesOf(v, spec)
		number int32
	)
	err = c.tx.QueryRowContext(ctx, `UPDATE registry_models SET last_version = last_version + 1, version_count = version_count + 1,
		range_bytes = range_bytes + $1, update_time = $2 WHERE name = $3 RETURNING last_version`, bytes, micros(c.now), c.model).Scan(&number)
	if err != nil {
		return nil, fmt.Errorf("next number: %w", err)
	}
	if number > maxNumber {
		return nil, apierr.New(apierr.FailedPrecondition, "the model %q has given its last number, %d", c.model, maxNumber).WithField("model")
	}
	out, err := scanVersion(c.tx.QueryRowContext(ctx, `INSERT INTO registry_versions
		(model, number, digest, spec, description, create_time, meta, bytes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING `+versionColumns,
		v.GetModel(), number, v.GetDigest(), spec, v.GetDescription(), micros(c.now), meta, bytes))
	if err != nil {
		return nil, err
	}
	return out, c.indexVersion(ctx, out)
}

// checkInsert refuses a version that is not for its model's task, or whose content
// was deleted.
func (s *Store) checkInsert(ctx context.Context, c *change, v *registryv1.Version) error {
	m, err := s.model(ctx, c.tx, c.model)
	if err != nil {
		return err
	}
	if task := m.GetTask(); task != commonv1.Task_TASK_UNSPECIFIED && task != v.GetSpec().GetTask() {
		return apierr.Invalid("spec.task", "the versions of %q are for %s", c.model, taskName(task))
	}
	if err := s.checkParent(ctx, c, v.GetLineage()); err != nil {
		return err
	}
	var number int32
	err = c.tx.QueryRowContext(ctx, `SELECT number FROM registry_versions WHERE model = $1 AND digest = $2`, c.model, v.GetDigest()).Scan(&number)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("a deleted version: %w", err)
	}
	return apierr.New(apierr.AlreadyExists, "version %d of %q has this content, and was deleted: restore it, or delete it for good", number, c.model).
		WithField("spec")
}

// checkParent refuses a parent that the model does not have.
func (s *Store) checkParent(ctx context.Context, c *change, l *registryv1.Lineage) error {
	if l.GetParentVersion() == 0 {
		return nil
	}
	_, err := s.version(ctx, c.tx, c.model, VersionKey{Number: l.GetParentVersion()})
	return inField(err, "lineage.parent_version")
}

// GetVersion returns a version with its variants.
func (s *Store) GetVersion(ctx context.Context, model string, key VersionKey) (*registryv1.Version, error) {
	var out *registryv1.Version
	err := s.snapshot(ctx, "get version", func(ctx context.Context, q querier) (err error) {
		out, err = s.wholeVersion(ctx, q, model, key)
		return err
	})
	return out, err
}

// wholeVersion returns a version with its variants.
func (s *Store) wholeVersion(ctx context.Context, q querier, model string, key VersionKey) (*registryv1.Version, error) {
	v, err := s.version(ctx, q, model, key)
	if err != nil {
		return nil, err
	}
	return v, addVariants(ctx, q, []*registryv1.Version{v}, `model = $1 AND version = $2`, model, v.GetNumber())
}

// version returns a version without its variants.
func (s *Store) version(ctx context.Context, q querier, model string, key VersionKey) (*registryv1.Version, error) {
	if !names.MatchString(model) {
		return nil, modelNotFound(model)
	}
	condition, value := key.condition()
	v, err := scanVersion(q.QueryRowContext(ctx, `SELECT `+versionColumns+` FROM registry_versions
		WHERE model = $1 AND delete_time = 0 AND `+condition+`
		AND EXISTS (SELECT 1 FROM registry_models m WHERE m.name = $1 AND m.delete_time = 0)`, model, value))
	if !errors.Is(err, sql.ErrNoRows) {
		return v, err
	}
	if err := hasModel(ctx, q, model); err != nil {
		return nil, err
	}
	return nil, notFound("version", "the model %q has no version %v", model, value)
}
