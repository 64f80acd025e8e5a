package rpc

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/order"
)

// defaultFacetValues is how many values a facet tells that does not say.
const defaultFacetValues = 10

func facetsOf(asked []*searchv1.FacetRequest) ([]index.Facet, error) {
	out := make([]index.Facet, len(asked))
	for i, f := range asked {
		if path := order.MetadataPath(f.GetField()); !filter.ValidPath(path) {
			field := fmt.Sprintf("facets[%d].field", i)
			return nil, apierr.Invalid(field, "%s is not the path of a metadata field, which has 1 to %d bytes", field, filter.MaxPathBytes)
		}
		out[i] = index.Facet{Path: order.MetadataPath(f.GetField()), Limit: int(cmp.Or(f.GetLimit(), defaultFacetValues))}
		for j, r := range f.GetRanges() {
			bounds, err := rangeOf(r)
			if err != nil {
				field := fmt.Sprintf("facets[%d].ranges[%d]", i, j)
				return nil, apierr.Invalid(field, "%s: %v", field, err)
			}
			out[i].Ranges = append(out[i].Ranges, bounds)
		}
	}
	return out, nil
}

func rangeOf(r *searchv1.FacetRange) (index.Range, error) {
	from, err := boundOf(r.GetFrom())
	if err != nil {
		return index.Range{}, fmt.Errorf("from %w", err)
	}
	to, err := boundOf(r.GetTo())
	if err != nil {
		return index.Range{}, fmt.Errorf("to %w", err)
	}
	switch {
	case from == nil && to == nil:
		return index.Range{}, fmt.Errorf("must have from or to")
	case from != nil && to != nil && from.Kind != to.Kind:
		return index.Range{}, fmt.Errorf("must be from a number to a number, or from a moment to a moment")
	case from != nil && to != nil && filter.Order(*from, *to) >= 0:
		return index.Range{}, fmt.Errorf("is empty: from must be below to, which is not of it")
	}
	return index.Range{From: from, To: to}, nil
}

// boundOf reads a number, or a moment; missing and null are no bound.
func boundOf(v *structpb.Value) (*filter.Value, error) {
	var out filter.Value
	switch k := v.GetKind().(type) {
	case nil, *structpb.Value_NullValue:
		return nil, nil //nolint:nilnil // no bound and no error
	case *structpb.Value_NumberValue:
		out = filter.NumberValue(k.NumberValue)
	case *structpb.Value_StringValue:
		t, ok := filter.Instant(k.StringValue)
		if !ok {
			return nil, fmt.Errorf("must be a number, or a timestamp or a date of RFC 3339")
		}
		out = filter.TimeValue(t)
	default:
		return nil, fmt.Errorf("must be a number, or a timestamp or a date of RFC 3339")
	}
	return &out, nil
}

func facetsToProto(asked []*searchv1.FacetRequest, counts []index.Counts) []*searchv1.Facet {
	out := make([]*searchv1.Facet, min(len(asked), len(counts)))
	for i := range out {
		c := counts[i]
		f := &searchv1.Facet{Field: asked[i].GetField(), OtherCount: int32of(c.Other), MissingCount: int32of(c.Missing)}
		for _, v := range c.Values {
			f.Values = append(f.Values, &searchv1.FacetValue{Value: valueToProto(v.Value), Count: int32of(v.Count)})
		}
		for j, r := range asked[i].GetRanges() {
			f.Ranges = append(f.Ranges, &searchv1.FacetRangeCount{From: r.GetFrom(), To: r.GetTo(), Count: int32of(c.Ranges[j])})
		}
		out[i] = f
	}
	return out
}

func valueToProto(v filter.Value) *structpb.Value {
	switch v.Kind {
	case filter.Number:
		return structpb.NewNumberValue(v.Number)
	case filter.Bool:
		return structpb.NewBoolValue(v.Number == 1)
	case filter.String, filter.Time:
		fallthrough
	default:
		return structpb.NewStringValue(v.Text)
	}
}
