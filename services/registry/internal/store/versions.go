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

const versionColumns = `model, number, digest, spec, description, create_time`

func scanVersion(row scanner) (*registryv1.Version, error) {
	var (
		v       = registryv1.Version{Spec: &commonv1.ModelSpec{}}
		spec    []byte
		created int64
	)
	if err := row.Scan(&v.Model, &v.Number, &v.Digest, &spec, &v.Description, &created); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(spec, v.GetSpec()); err != nil {
		return nil, fmt.Errorf("specification of %s version %d: %w", v.GetModel(), v.GetNumber(), err)
	}
	v.CreateTime = timestamp(created)
	return &v, nil
}

// CreateVersion creates the version that has v's model, digest, specification
// and description, with the next number. When the model has a version of that
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
		number, err := s.nextNumber(ctx, c, int64(proto.Size(v)))
		if err != nil {
			return err
		}
		out, err = scanVersion(c.tx.QueryRowContext(ctx, `INSERT INTO registry_versions
			(`+versionColumns+`) VALUES ($1, $2, $3, $4, $5, $6) RETURNING `+versionColumns,
			v.GetModel(), number, v.GetDigest(), spec, v.GetDescription(), micros(c.now)))
		if err != nil {
			return err
		}
		return c.refer(ctx, v.GetSpec(), number, "")
	})
	return out, err
}

// nextNumber counts a version of the given size in bytes and returns its number.
func (s *Store) nextNumber(ctx context.Context, c *change, size int64) (int32, error) {
	// What the registry sets comes on top: number, time and the fields' tags.
	const overhead = 64
	return s.count(ctx, c, 1, size+overhead)
}

// count adds versions and bytes to those of the model, and returns how many
// versions it has. Fewer bytes are always taken, whatever the limit is by now.
func (s *Store) count(ctx context.Context, c *change, versions, bytes int64) (int32, error) {
	var (
		number int32
		total  int64
	)
	err := c.tx.QueryRowContext(ctx, `UPDATE registry_models
		SET version_count = version_count + $1, version_bytes = version_bytes + $2, update_time = $3
		WHERE name = $4 RETURNING version_count, version_bytes`,
		versions, bytes, micros(c.now), c.model).Scan(&number, &total)
	if err != nil {
		return 0, fmt.Errorf("count versions: %w", err)
	}
	if bytes > 0 && total > s.opts.MaxModelBytes {
		return 0, apierr.New(apierr.FailedPrecondition,
			"the versions of %q with their variants would take %d bytes, and may take %d: go on under another name",
			c.model, total, s.opts.MaxModelBytes).WithField("model")
	}
	return number, nil
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
	v, err := scanVersion(q.QueryRowContext(ctx,
		`SELECT `+versionColumns+` FROM registry_versions WHERE model = $1 AND `+condition, model, value))
	if !errors.Is(err, sql.ErrNoRows) {
		return v, err
	}
	if _, err := s.model(ctx, q, model); err != nil {
		return nil, err
	}
	return nil, notFound("version", "the model %q has no version %v", model, value)
}

// ListVersions returns at most limit versions with their variants, newest
// first, those numbered below before; 0 begins at the newest.
func (s *Store) ListVersions(ctx context.Context, model string, before int32, limit int) ([]*registryv1.Version, error) {
	var out []*registryv1.Version
	err := s.snapshot(ctx, "list versions", func(ctx context.Context, q querier) (err error) {
		if _, err := s.model(ctx, q, model); err != nil {
			return err
		}
		out, err = collect(ctx, q, scanVersion, `SELECT `+versionColumns+` FROM registry_versions
			WHERE model = $1 AND ($2 = 0 OR number < $2) ORDER BY number DESC LIMIT $3`, model, before, limit)
		if err != nil || len(out) == 0 {
			return err
		}
		return addVariants(ctx, q, out, `model = $1 AND version >= $2 AND version <= $3`,
			model, out[len(out)-1].GetNumber(), out[0].GetNumber())
	})
	return out, err
}
