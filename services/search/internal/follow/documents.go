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
	if !v.ExpireTime.IsZero() {
		fields = append([]filter.Field{filter.Expiry(v.ExpireTime)}, fields...) // by path, and this one is empty
	}
	d := index.Document{
		No: v.No, ID: v.ID, Principals: v.Principals, Fields: fields,
		Kept: v.Kept, Title: v.Title, CreateTime: v.CreateTime, UpdateTime: v.UpdateTime, Chunks: make([]index.Chunk, len(v.Chunks)),
	}
	for i, ch := range v.Chunks {
		text, terms := Worded(v.Title, ch.Text), ch.Terms
		if c.Analyser != f.o.Analyser && !v.Kept {
			terms = analysis.Count(text)
		}
		d.Chunks[i] = index.Chunk{Number: ch.Number, Terms: terms, Text: text, Vector: ch.Vector}
	}
	return d, nil
}

// Worded returns what of a passage is indexed by words. Its document's title
// counts twice: few words that somebody chose say more of a passage than as many
// of the text ("Simple BM25 Extension to Multiple Weighted Fields", Robertson,
// Zaragoza and Taylor, 2004).
func Worded(title, text string) string {
	if title == "" {
		return text
	}
	return title + "\n" + Indexed(title, text)
}

// Indexed returns what is embedded of a passage: it is found by its document's
// title, too.
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
