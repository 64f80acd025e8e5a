package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// UpdateVersion changes what is said of a version and returns it. What changes
// nothing uses up no revision.
func (s *Store) UpdateVersion(ctx context.Context, actor, model string, key VersionKey, u VersionUpdate) (*registryv1.Version, error) {
	var out *registryv1.Version
	err := s.change(ctx, actor, model, versionUpdated, func(ctx context.Context, c *change) (err error) {
		if out, err = s.wholeVersion(ctx, c.tx, model, key); err != nil {
			return err
		}
		before := proto.CloneOf(out)
		if err := u.apply(out); err != nil {
			return err
		}
		if n := u.Lineage.GetParentVersion(); n > 0 && n == out.GetNumber() {
			return apierr.Invalid("lineage.parent_version", "a version is not made from itself")
		}
		if err := s.checkParent(ctx, c, u.Lineage); err != nil {
			return err
		}
		return c.rewrite(ctx, before, out)
	})
	return out, err
}

// rewrite replaces what is said of a version; errUnchanged when nothing differs.
func (c *change) rewrite(ctx context.Context, before, after *registryv1.Version) error {
	if proto.Equal(before, after) {
		return errUnchanged
	}
	meta, err := encodeMeta(after)
	if err != nil {
		return err
	}
	if err := c.exec(ctx, `UPDATE registry_versions SET meta = $1, description = $2 WHERE model = $3 AND number = $4`,
		meta, after.GetDescription(), c.model, after.GetNumber()); err != nil {
		return err
	}
	if err := c.indexVersion(ctx, after); err != nil {
		return err
	}
	return c.resize(ctx, after.GetNumber(), bytesOf(after, nil)-bytesOf(before, nil))
}

// SignVersion adds a signature to a version, or to the variant of that name; Base
// and "" are the version itself. One of the same key is replaced. check is given
// the digest and refuses a signature that is none.
func (s *Store) SignVersion(
	ctx context.Context, actor, model string, key VersionKey, variant string, sig *registryv1.Signature, check func(digest string) error,
) (*registryv1.Version, error) {
	var out *registryv1.Version
	err := s.change(ctx, actor, model, versionSigned, func(ctx context.Context, c *change) (err error) {
		if out, err = s.wholeVersion(ctx, c.tx, model, key); err != nil {
			return err
		}
		before := proto.CloneOf(out)
		sig = &registryv1.Signature{KeyId: sig.GetKeyId(), Signature: sig.GetSignature(), CreateTime: timestamp(micros(c.now))}
		if variant == "" || variant == Base {
			if err := check(out.GetDigest()); err != nil {
				return err
			}
			if out.Signatures, err = signed(out.GetSignatures(), sig); err != nil {
				return err
			}
			return c.rewrite(ctx, before, out)
		}
		v := variantOf(out, variant)
		if v == nil {
			return variantNotFound(out, variant)
		}
		if err := check(v.GetDigest()); err != nil {
			return err
		}
		return c.signVariant(ctx, v, sig)
	})
	return out, err
}

// signed returns the signatures with one more, by key; errUnchanged when it is
// there.
func signed(old []*registryv1.Signature, sig *registryv1.Signature) ([]*registryv1.Signature, error) {
	out := slices.Clone(old)
	at := slices.IndexFunc(out, func(s *registryv1.Signature) bool { return s.GetKeyId() == sig.GetKeyId() })
	switch {
	case at >= 0 && bytes.Equal(out[at].GetSignature(), sig.GetSignature()):
		return out, errUnchanged
	case at >= 0:
		out[at] = sig
	case len(out) >= maxSignatures:
		return nil, apierr.New(apierr.FailedPrecondition, "there are %d signatures, as many as there may be", len(out)).WithField("signature")
	default:
		out = append(out, sig)
	}
	return out, nil
}

func (c *change) signVariant(ctx context.Context, v *registryv1.Variant, sig *registryv1.Signature) (err error) {
	before := stateBytes(v)
	if v.Signatures, err = signed(v.GetSignatures(), sig); err != nil {
		return err
	}
	raw, err := encode(&registryv1.Variant{Signatures: v.GetSignatures()})
	if err != nil {
		return err
	}
	bytes := stateBytes(v)
	if err := c.exec(ctx, `UPDATE registry_variants SET signatures = $1, bytes = $2 WHERE model = $3 AND version = $4 AND name = $5`,
		raw, bytes, c.model, v.GetVersion(), v.GetName()); err != nil {
		return fmt.Errorf("sign a variant: %w", err)
	}
	return c.resize(ctx, v.GetVersion(), bytes-before)
}
