package rpc

import (
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func TestRangesOfFacets(t *testing.T) {
	for _, tt := range []struct {
		from, to any
		ok       bool
	}{
		{1, 2, true},
		{nil, 2, true},
		{"2026-01-01", nil, true},
		{"2026-01-01", "2026-01-02T00:00:00Z", true},
		{nil, nil, false},
		{2, 2, false},
		{2, 1, false},
		{"2026-01-02", "2026-01-01", false},
		{1, "2026-01-01", false},
		{true, nil, false},
		{"yesterday", nil, false},
	} {
		from, _ := structpb.NewValue(tt.from)
		to, _ := structpb.NewValue(tt.to)
		if _, err := rangeOf(&searchv1.FacetRange{From: from, To: to}); (err == nil) != tt.ok {
			t.Errorf("%v to %v: %v", tt.from, tt.to, err)
		}
	}
}
