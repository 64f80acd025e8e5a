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

const (
	// Base is what the version's own weights are called among its variants.
	Base = "base"
	// MaxVariants bounds the variants of one version.
	MaxVariants = 32
)

const variantColumns = `model, version, name, digest, spec, quality, description, create_time`

// Whether there is a quality is asked apart: drivers read an empty one, where
// everything is 0, like none.
const variantQuery = `SELECT ` + variantColumns + `, signatures, quality IS NOT NULL FROM registry_variants WHERE `

func scanVariant(row scanner) (*registryv1.Variant, error) {
	var (
		v                   = registryv1.Variant{Spec: &commonv1.ModelSpec{}}
		spec, quality, sigs []byte
		created             int64
		measured            bool
	)
	err := row.Scan(&v.Model, &v.Version, &v.Name, &v.Digest, &spec, &quality, &v.Description, &created, &sigs, &measured)
	if err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(spec, v.GetSpec()); err != nil {
		return nil, fmt.Errorf("specification of %s version %d, variant %s: %w", v.GetModel(), v.GetVersion(), v.GetName(), err)
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(sigs, &v); err != nil {
		return nil, fmt.Errorf("signatures of %s version %d, variant %s: %w", v.GetModel(), v.GetVersion(), v.GetName(), err)
	}
	if measured {
		v.Quality = &registryv1.Quality{}
		if err := proto.Unmarshal(quality, v.GetQuality()); err != nil {
			return nil, fmt.Errorf("quality of %s version %d, variant %s: %w", v.GetModel(), v.GetVersion(), v.GetName(), err)
		}
	}
	v.SizeBytes, v.CreateTime = weightBytes(v.GetSpec()), timestamp(created)
	return &v, nil
}

// addVariants gives each version its variants, by name. The condition is on the
// table of variants and may meet those of other versions too.
func addVariants(ctx context.Context, q querier, versions []*registryv1.Version, condition string, args ...any) error {
	variants, err := collect(ctx, q, scanVariant, variantQuery+condition+` ORDER BY model, version, name`, args...)
	if err != nil {
		return fmt.Errorf("variants: %w", err)
	}
	type place struct {
		model  string
		number int32
	}
	at := make(map[place]*registryv1.Version, len(versions))
	for _, v := range versions {
		at[place{v.GetModel(), v.GetNumber()}] = v
	}
	for _, variant := range variants {
		if v := at[place{variant.GetModel(), variant.GetVersion()}]; v != nil {
			v.Variants = append(v.Variants, variant)
		}
	}
	return nil
}

// variantOf returns the variant of a version by its name; nil when there is none.
func variantOf(version *registryv1.Version, name string) *registryv1.Variant {
	for _, v := range version.GetVariants() {
		if v.GetName() == name {
			return v
		}
	}
	return nil
}

// CreateVariant adds to a version the variant that has v's model, name, digest,
// specification, quality and description. When the version has one of that name
// and digest, that one is returned, with v's quality when v has one and it is
// another.
func (s *Store) CreateVariant(ctx context.Context, actor string, key VersionKey, v *registryv1.Variant) (*registryv1.Variant, error) {
	if err := checkVariant(v); err != nil {
		return nil, err
	}
	var out *registryv1.Variant
	err := s.change(ctx, actor, v.GetModel(), variantCreated, func(ctx context.Context, c *change) error {
		version, err := s.wholeVersion(ctx, c.tx, v.GetModel(), key)
		if err != nil {
			return err
		}
		if out = variantOf(version, v.GetName()); out == nil {
			out, err = s.insertVariant(ctx, c, version, v)
			return err
		}
		c.kind = variantMeasured
		out, err = s.measureVariant(ctx, c, version, out, v)
		return err
	})
	return out, err
}

func (s *Store) insertVariant(ctx context.Context, c *change, version *registryv1.Version, v *registryv1.Variant) (*registryv1.Variant, error) {
	if err := checkForm(version.GetSpec(), v.GetSpec()); err != nil {
		return nil, err
	}
	if err := checkNew(version, v.GetDigest()); err != nil {
		return nil, err
	}
	if n := len(version.GetVariants()); n >= MaxVariants {
		return nil, apierr.New(apierr.FailedPrecondition, "version %d of %q has %d variants, as many as it may",
			version.GetNumber(), c.model, n).WithField("variant")
	}
	quality, err := assess(version, v.GetName(), v.GetQuality(), nil)
	if err != nil {
		return nil, err
	}
	out := &registryv1.Variant{
		Model: c.model, Version: version.GetNumber(), Name: v.GetName(), Digest: v.GetDigest(),
		Spec: proto.CloneOf(v.GetSpec()), SizeBytes: weightBytes(v.GetSpec()), Quality: quality, Description: v.GetDescription(),
		CreateTime: timestamp(micros(c.now)),
	}
	spec, err := encode(out.GetSpec())
	if err != nil {
		return nil, err
	}
	measured, err := encodeQuality(quality)
	if err != nil {
		return nil, err
	}
	bytes := stateBytes(out)
	if err := c.resize(ctx, out.GetVersion(), bytes); err != nil {
		return nil, err
	}
	err = c.exec(ctx, `INSERT INTO registry_variants (`+variantColumns+`, bytes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		c.model, out.GetVersion(), out.GetName(), out.GetDigest(), spec, measured, out.GetDescription(), micros(c.now), bytes)
	if err != nil {
		return nil, err
	}
	return out, c.refer(ctx, out.GetSpec(), out.GetVersion(), out.GetName())
}

// measureVariant replaces the quality of a variant that is there with v's.
func (s *Store) measureVariant(
	ctx context.Context, c *change, version *registryv1.Version, there, v *registryv1.Variant,
) (*registryv1.Variant, error) {
	if there.GetDigest() != v.GetDigest() {
		return nil, apierr.New(apierr.AlreadyExists, "version %d of %q has a variant %q of other content, %s: what a variant is never changes",
			there.GetVersion(), c.model, there.GetName(), there.GetDigest()).
			WithField("variant").WithMetadata(metaDigest, there.GetDigest())
	}
	if v.GetQuality() == nil {
		return there, errUnchanged
	}
	quality, err := assess(version, v.GetName(), v.GetQuality(), there.GetQuality())
	if err != nil {
		return nil, err
	}
	if proto.Equal(quality, there.GetQuality()) {
		return there, errUnchanged
	}
	var before int64
	err = c.tx.QueryRowContext(ctx, `SELECT bytes FROM registry_variants WHERE model = $1 AND version = $2 AND name = $3`,
		c.model, there.GetVersion(), there.GetName()).Scan(&before)
	if err != nil {
		return nil, fmt.Errorf("bytes of a variant: %w", err)
	}
	there.Quality = quality
	measured, err := encodeQuality(quality)
	if err != nil {
		return nil, err
	}
	bytes := stateBytes(there)
	if err := c.resize(ctx, there.GetVersion(), bytes-before); err != nil {
		return nil, err
	}
	return there, c.exec(ctx, `UPDATE registry_variants SET quality = $1, bytes = $2 WHERE model = $3 AND version = $4 AND name = $5`,
		measured, bytes, c.model, there.GetVersion(), there.GetName())
}

// stateBytes returns what a variant adds to the encoded state of its model.
func stateBytes(v *registryv1.Variant) int64 {
	// The version's field for it has a tag of two bytes and a length, and both
	// make the lengths around them longer.
	const around = 16
	return int64(proto.Size(v) + around)
}

func encode(m proto.Message) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return raw, nil
}

// GetVariant returns a variant of a version.
func (s *Store) GetVariant(ctx context.Context, model string, key VersionKey, name string) (*registryv1.Variant, error) {
	version, err := s.GetVersion(ctx, model, key)
	if err != nil {
		return nil, err
	}
	if v := variantOf(version, name); v != nil {
		return v, nil
	}
	return nil, variantNotFound(version, name)
}

func variantNotFound(version *registryv1.Version, name string) error {
	return notFound("variant", "version %d of %q has no variant %q", version.GetNumber(), version.GetModel(), name)
}

// DeleteVariant removes a variant and gives its bytes back to the model. What
// others tell of having been made from it stays.
func (s *Store) DeleteVariant(ctx context.Context, actor, model string, key VersionKey, name string) error {
	return s.change(ctx, actor, model, variantDeleted, func(ctx context.Context, c *change) error {
		version, err := s.version(ctx, c.tx, model, key)
		if err != nil {
			return err
		}
		if !names.MatchString(name) {
			return variantNotFound(version, name)
		}
		var bytes int64
		err = c.tx.QueryRowContext(ctx, `DELETE FROM registry_variants WHERE model = $1 AND version = $2 AND name = $3 RETURNING bytes`,
			model, version.GetNumber(), name).Scan(&bytes)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return variantNotFound(version, name)
		case err != nil:
			return fmt.Errorf("delete a variant: %w", err)
		}
		return c.resize(ctx, version.GetNumber(), -bytes)
	})
}
