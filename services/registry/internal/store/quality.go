package store

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// checkQuality lists what is wrong with a quality by itself.
func checkQuality(q *registryv1.Quality) error {
	var bad []apierr.Violation
	number := func(field string, value, least float64) {
		if !(value >= least) || math.IsInf(value, 0) { // what is no number is not below it either
			bad = append(bad, apierr.Violation{Field: "quality." + field, Description: "is not a number that it may be"})
		}
	}
	perplexity := func(field string, value float64) {
		if value != 0 { // it was measured, and cannot be below that of who knows the text
			number(field, value, 1)
		}
	}
	perplexity("perplexity", q.GetPerplexity())
	number("perplexity_error", q.GetPerplexityError(), 0)
	perplexity("source_perplexity", q.GetSourcePerplexity())
	number("source_perplexity_error", q.GetSourcePerplexityError(), 0)
	number("loss", q.GetLoss(), -1)
	const pair = "must be given when the other perplexity is: one alone says nothing about what was lost"
	switch {
	case q.GetPerplexity() == 0 && q.GetSourcePerplexity() != 0:
		bad = append(bad, apierr.Violation{Field: "quality.perplexity", Description: pair})
	case q.GetPerplexity() != 0 && q.GetSourcePerplexity() == 0:
		bad = append(bad, apierr.Violation{Field: "quality.source_perplexity", Description: pair})
	}
	return invalid(bad)
}

// assess returns the quality that a variant of the version gets from the given
// one: with its loss against the version's own weights, and with an empty source
// for these. present is the variant's quality so far, or nil. The loss is that
// of the moment: a source that is measured again, or removed, leaves it as it is.
func assess(version *registryv1.Version, name string, given, present *registryv1.Quality) (*registryv1.Quality, error) {
	if given == nil {
		return nil, nil //nolint:nilnil // what was not measured has no quality
	}
	q := proto.CloneOf(given)
	if q.GetSource() == Base {
		q.Source = ""
	}
	measured := q.GetPerplexity() != 0
	var before float64 // the source's loss
	if q.GetSource() != "" {
		source := variantOf(version, q.GetSource())
		switch {
		case source == nil && sameMeasurement(q, present, measured):
			return present, nil
		case source == nil:
			return nil, notFound("quality.source", "version %d of %q has no variant %q", version.GetNumber(), version.GetModel(), q.GetSource())
		case descends(version, q.GetSource(), name):
			return nil, apierr.Invalid("quality.source", "%q was made from %q, not the other way round", q.GetSource(), name)
		case measured && source.GetQuality() == nil:
			return nil, apierr.New(apierr.FailedPrecondition,
				"the variant %q was not measured, so what was lost beside the version's own weights is not known: measure it first", q.GetSource()).
				WithField("quality.source")
		}
		before = source.GetQuality().GetLoss()
	}
	if !measured {
		return q, nil
	}
	q.Loss = (1+before)*(q.GetPerplexity()/q.GetSourcePerplexity()) - 1
	if math.IsNaN(q.GetLoss()) || math.IsInf(q.GetLoss(), 0) {
		return nil, apierr.Invalid("quality.perplexity", "is too far from quality.source_perplexity to be compared")
	}
	return q, nil
}

// sameMeasurement reports whether q is what is there already. Where the loss is
// the registry's to compute, what q says of it does not count.
func sameMeasurement(q, present *registryv1.Quality, measured bool) bool {
	if present == nil {
		return false
	}
	q = proto.CloneOf(q)
	if measured {
		q.Loss = present.GetLoss()
	}
	return proto.Equal(q, present)
}

// descends reports whether the variant called name is its ancestor's or was made
// from it, over however many steps.
func descends(version *registryv1.Version, name, ancestor string) bool {
	for range MaxVariants + 1 { // sources make no rings, so this is as far as they lead
		if name == ancestor {
			return true
		}
		name = variantOf(version, name).GetQuality().GetSource()
	}
	return false
}

// encodeQuality returns what is stored for a quality: nil, which is NULL, when
// there is none.
func encodeQuality(q *registryv1.Quality) ([]byte, error) {
	if q == nil {
		return nil, nil
	}
	raw, err := encode(q)
	if raw == nil && err == nil {
		raw = []byte{} // measured, and everything is 0
	}
	return raw, err
}
