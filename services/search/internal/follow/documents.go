package follow

import (
	"encoding/json"
	"fmt"
	"iter"

	"github.com/poterne/poterne/services/search/internal/analysis"
	"github.com/poterne/poterne/services/search/internal/filter"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/store"
)

// documents turns versions into what an index holds, until the follower is
// closed.
func (f *Follower) documents(c store.Collection, versions iter.Seq2[store.Version, error]) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for v, err := range versions {
			var d index.Document
			if err == nil {
				d, err = f.document(c, v)
			}
			select {
			case <-f.closed:
				err = errClosing
			default:
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// document is what an index holds of a version. Its terms were counted when it was
// embedded; they are counted again when that was by another analyser.
func (f *Follower) document(c store.Collection, v store.Version) (index.Document, error) {
	var metadata map[string]any
	if err := json.Unmarshal(v.Metadata, &metadata); err != nil {
		return index.Document{}, fmt.Errorf("metadata of version %d: %w", v.No, err)
	}
	fields, err := filter.Fields(metadata)
	if err != nil {
		return index.Document{}, fmt.Errorf("metadata of version %d: %w", v.No, err)
	}
	d := index.Document{No: v.No, ID: v.ID, Principals: v.Principals, Fields: fields, Chunks: make([]index.Chunk, len(v.Chunks))}
	for i, ch := range v.Chunks {
		text, terms := Indexed(v.Title, ch.Text), ch.Terms
		if c.Analyser != f.o.Analyser {
			terms = len(analysis.Analyze(text))
		}
		d.Chunks[i] = index.Chunk{Number: ch.Number, Terms: terms, Text: text, Vector: ch.Vector}
	}
	return d, nil
}

// Indexed returns what is indexed and embedded of a passage: it is found by its
// document's title, too.
func Indexed(title, text string) string {
	switch {
	case title == "":
		return text
	case text == "":
		return title
	default:
		return title + "\n" + text
	}
}
