package query

import (
	"encoding/json"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/store"
)

// required reads the filter that documents must pass whatever the request says; nil
// for none.
func required(text string) (filter.Node, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	n, err := filter.Parse(text)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the filter that the policy requires is wrong")
	}
	return n, nil
}

// both passes what passes each; either may be nil.
func both(a, b filter.Node) filter.Node {
	if a == nil || b == nil {
		if a == nil {
			return b
		}
		return a
	}
	return &filter.And{Nodes: []filter.Node{a, b}}
}

// keep removes the passages of documents that do not pass. What a page token names
// was found by nobody whom we know.
func keep(text string, passages map[store.Ref]store.Passage) error {
	must, err := required(text)
	if err != nil || must == nil {
		return err
	}
	for ref, p := range passages {
		var metadata map[string]any
		if err := json.Unmarshal(p.Metadata, &metadata); err != nil && len(p.Metadata) > 0 {
			return fmt.Errorf("read a document's metadata: %w", err)
		}
		fields, err := filter.Fields(metadata)
		if err != nil {
			return fmt.Errorf("read a document's metadata: %w", err)
		}
		one := filter.NewColumns()
		one.Add(0, fields)
		if !one.Select(must, roaring.BitmapOf(0)).Contains(0) {
			delete(passages, ref)
		}
	}
	return nil
}
