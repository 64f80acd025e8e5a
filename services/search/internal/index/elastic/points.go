package elastic

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/poterne/poterne/services/search/internal/filter"
)

// maxPoints is how many paths of a collection can have places: each is a field
// of its own. What comes later is not found by distance.
const maxPoints = 64

// point is a place as Elasticsearch reads it.
type point struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

func pointField(path string) string { return fieldPoints + "." + hex.EncodeToString([]byte(path)) }

// points returns the document's places, whose paths have fields then.
func (w *writer) points(ctx context.Context, fields []filter.Field) (map[string]point, error) {
	places := filter.Points(fields)
	if len(places) == 0 {
		return nil, nil
	}
	out := make(map[string]point, len(places))
	unmapped := object{}
	for path, p := range places {
		name := hex.EncodeToString([]byte(path))
		if !slices.Contains(w.meta.Points, path) {
			if len(w.meta.Points) >= maxPoints {
				continue
			}
			w.meta.Points = append(slices.Clip(w.meta.Points), path)
			unmapped[name] = object{"type": "geo_point"}
		}
		out[name] = point(p)
	}
	if len(unmapped) == 0 {
		return out, nil
	}
	body, err := putJSON(object{"properties": object{fieldPoints: object{"properties": unmapped}}})
	if err != nil {
		return nil, err
	}
	req := esapi.IndicesPutMappingRequest{Index: []string{w.bulk.index}, Body: body}
	return out, w.c.x.client.do(ctx, "make a field of places", req, nil)
}

// within asks for what lies as near or as far as a filter wants.
func within(d *filter.Distance) object {
	near := object{"geo_distance": object{
		"distance": fmt.Sprintf("%gm", d.Metres), "ignore_unmapped": true,
		pointField(d.Path): point(d.Point),
	}}
	if d.Op == filter.Less || d.Op == filter.LessEqual {
		return near
	}
	return object{"bool": object{
		"filter":   []object{{"exists": object{"field": pointField(d.Path)}}},
		"must_not": []object{near},
	}}
}
