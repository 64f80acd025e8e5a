package store

import (
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The bounds on what is said of a version.
const (
	maxMetrics    = 64
	maxSignatures = 8
	maxMetaBytes  = 128 << 10
)

// encodeMeta returns what is said of a version, encoded as a version that has
// nothing else.
func encodeMeta(v *registryv1.Version) ([]byte, error) {
	raw, err := encode(&registryv1.Version{
		Lineage: v.GetLineage(), Metrics: v.GetMetrics(), IoSchema: v.GetIoSchema(), Licence: v.GetLicence(),
		Labels: v.GetLabels(), Signatures: v.GetSignatures(),
	})
	if err == nil && len(raw) > maxMetaBytes {
		err = apierr.Invalid("io_schema", "what is said of a version takes %d bytes, more than %d", len(raw), maxMetaBytes)
	}
	return raw, err
}

// decodeMeta puts what encodeMeta wrote into v.
func decodeMeta(raw []byte, v *registryv1.Version) error {
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(raw, v); err != nil {
		return fmt.Errorf("what is said of %s version %d: %w", v.GetModel(), v.GetNumber(), err)
	}
	return nil
}

// sent leaves out of a version what no consumer of the watch needs.
func sent(v *registryv1.Version) *registryv1.Version {
	v.Lineage, v.Metrics, v.IoSchema = nil, nil, nil
	return v
}

// bytesOf returns what a version takes in a message, without its variants.
func bytesOf(v *registryv1.Version, spec []byte) int64 {
	// The digest, the number, the times, and the tags and lengths of all. The
	// migration counts in the same way.
	const overhead = 128
	meta := proto.Size(&registryv1.Version{Licence: v.GetLicence(), Labels: v.GetLabels(), Signatures: v.GetSignatures()})
	return int64(overhead + len(v.GetModel()) + len(spec) + len(v.GetDescription()) + meta)
}

// VersionUpdate is what is changed of what is said of a version.
type VersionUpdate struct {
	// Description, Licence, Lineage and Schema are the new ones; nil leaves them.
	Description, Licence *string
	Lineage              *registryv1.Lineage
	Schema               *registryv1.IOSchema
	// Labels and Metrics are added or replaced, the others go.
	Labels                      map[string]string
	Metrics                     map[string]float64
	RemoveLabels, RemoveMetrics []string
}

// apply changes v.
func (u VersionUpdate) apply(v *registryv1.Version) error {
	if u.Description != nil {
		v.Description = *u.Description
	}
	if u.Licence != nil {
		v.Licence = *u.Licence
	}
	if u.Lineage != nil {
		v.Lineage = u.Lineage
	}
	if u.Schema != nil {
		v.IoSchema = u.Schema
	}
	v.Labels = merged(v.GetLabels(), u.Labels, u.RemoveLabels)
	v.Metrics = merged(v.GetMetrics(), u.Metrics, u.RemoveMetrics)
	if n := len(v.GetLabels()); n > maxLabels {
		return apierr.New(apierr.FailedPrecondition, "the version would have %d labels, and may have %d", n, maxLabels).WithField("labels")
	}
	if n := len(v.GetMetrics()); n > maxMetrics {
		return apierr.New(apierr.FailedPrecondition, "the version would have %d metrics, and may have %d", n, maxMetrics).WithField("metrics")
	}
	return nil
}

// merged returns old with some entries set and others removed; nil when none is
// left.
func merged[V any](old, set map[string]V, remove []string) map[string]V {
	out := maps.Clone(old)
	if out == nil {
		out = make(map[string]V, len(set))
	}
	maps.Copy(out, set)
	for _, name := range remove {
		delete(out, name)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
