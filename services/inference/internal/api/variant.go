package api

import (
	"slices"
	"strings"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Variants is what a model's policy says of the forms that its versions have.
type Variants interface {
	// Allowed returns those of v that may serve, best first, and whether a later one
	// may while those before have no room.
	Allowed(model *catalog.Model, v *catalog.Version) (allowed []*catalog.Variant, fallback bool)
	// Problem says what of a model's labels cannot be used; "" when all can.
	Problem(labels map[string]string) string
}

// choose says which forms of the version may serve the request.
func (s *Server) choose(snapshot *catalog.Snapshot, j *job) {
	v := j.target.Version
	if len(v.Variants) < 2 {
		return
	}
	if one := j.target.Variant; one != nil {
		j.query.Variants, j.query.Name, j.query.Exact = []string{one.Digest}, one.Label, true
		j.allowed = []*catalog.Variant{one}
		return
	}
	c := s.choices(snapshot).of(s, snapshot, v)
	j.allowed, j.query.Variants, j.query.Fallback = c.allowed, c.digests, c.fallback
}

// choice is what the policy says of a version; it is not changed once made.
type choice struct {
	allowed  []*catalog.Variant
	digests  []string // of allowed
	fallback bool
}

// choices are those of one snapshot: labels are read once for each, and not for
// each request. It is safe for concurrent use.
type choices struct {
	snapshot  *catalog.Snapshot
	byVersion sync.Map // *catalog.Version → choice
}

func (s *Server) choices(snapshot *catalog.Snapshot) *choices {
	c := s.chosen.Load()
	if c == nil || c.snapshot != snapshot {
		c = &choices{snapshot: snapshot}
		s.chosen.Store(c)
	}
	return c
}

func (c *choices) of(s *Server, snapshot *catalog.Snapshot, v *catalog.Version) choice {
	if known, ok := c.byVersion.Load(v); ok {
		one, _ := known.(choice)
		return one
	}
	m, _ := snapshot.Model(v.Model)
	var one choice
	one.allowed, one.fallback = s.allowed(m, v)
	for _, form := range one.allowed {
		one.digests = append(one.digests, form.Digest)
	}
	c.byVersion.Store(v, one)
	return one
}

// variant says which form of the version answers, and why not the best one.
func (j job) variant(by *inferencev1.ServedBy, run *routing.Run) {
	if len(j.target.Version.Variants) < 2 {
		return
	}
	one := j.target.Version.Variant(run.Copy().Digest())
	if one == nil {
		return
	}
	by.Variant, by.VariantDigest = one.Name, one.Digest
	switch {
	case len(j.allowed) == 0 || one == j.allowed[0]:
	case run.Saturated():
		by.VariantReason = inferencev1.VariantReason_VARIANT_REASON_SATURATION
	default:
		by.VariantReason = inferencev1.VariantReason_VARIANT_REASON_PLACEMENT
	}
}

// on names in what a worker is asked for the variant that it has. What it returns
// names the version again, by which requests are known to be alike.
func on(digest *string, run *routing.Run) (restore func()) {
	version := *digest
	*digest = run.Copy().Digest()
	return func() { *digest = version }
}

// allowed returns the forms of a version that may serve.
func (s *Server) allowed(m *catalog.Model, v *catalog.Version) (allowed []*catalog.Variant, fallback bool) {
	if len(v.Variants) < 2 || s.opts.Variants == nil {
		return []*catalog.Variant{v.Named(catalog.Base)}, false
	}
	return s.opts.Variants.Allowed(m, v)
}

// listVariants says in which forms a version can be loaded, and where each is.
func (s *Server) listVariants(out *inferencev1.ServedModel, m *catalog.Model, v *catalog.Version, view *fleet.View) {
	if v == nil || len(v.Variants) < 2 {
		return
	}
	allowed, _ := s.allowed(m, v)
	for _, one := range v.Variants {
		served := &inferencev1.ServedVariant{
			Name: one.Name, Digest: one.Digest, SizeBytes: one.Size, Allowed: slices.Contains(allowed, one),
			ReadyWorkers: int32(len(view.Ready(one.Digest))),
		}
		if one.Measured {
			served.Loss = &one.Loss
		}
		if s.opts.Placement != nil && served.GetReadyWorkers() == 0 {
			served.PlacementProblem = s.opts.Placement.Problem(one.Digest)
		}
		out.Variants = append(out.Variants, served)
	}
}

// sourceOf returns what weights are made from: the variant of a version that has
// the name, and the version's own weights for an empty one.
func sourceOf(v *catalog.Version, name string) (*catalog.Variant, error) {
	if name == "" {
		name = catalog.Base
	}
	if one := v.Named(name); one != nil {
		return one, nil
	}
	names := make([]string, len(v.Variants))
	for i, one := range v.Variants {
		names[i] = one.Name
	}
	return nil, apierr.New(apierr.NotFound, "%s has no variant %q; there are: %s", v.Name, name, strings.Join(names, ", ")).
		WithField("source").WithMetadata("model", v.Name)
}
