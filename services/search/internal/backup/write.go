package backup

import (
	"context"
	"io"
	"iter"

	"github.com/poterne/poterne/services/search/internal/store"
)

// Source is where collections are read from; *store.Store is one.
type Source interface {
	// Everything hands fn a collection and all of its versions, ordered by number,
	// as of one moment.
	Everything(ctx context.Context, c store.Collection, fn func(c store.Collection, versions iter.Seq2[store.Version, error]) error) error
}

// Write writes everything in a collection to w, in pieces of any size.
func Write(ctx context.Context, from Source, c store.Collection, w io.Writer) error {
	return from.Everything(ctx, c, func(c store.Collection, versions iter.Seq2[store.Version, error]) error {
		f, err := newFrames(w)
		if err == nil {
			err = f.writeJSON(frameHeader, headerOf(c))
		}
		if err != nil {
			return err
		}
		var n counts
		var room []byte
		for v, err := range versions {
			if err != nil {
				return err
			}
			if err := f.writeJSON(frameDocument, documentOf(v)); err != nil {
				return err
			}
			room = appendVectors(room[:0], v)
			if err := f.write(frameVectors, room); err != nil {
				return err
			}
			n.Documents, n.Chunks = n.Documents+1, n.Chunks+len(v.Chunks)
		}
		if err := f.writeJSON(frameEnd, n); err != nil {
			return err
		}
		_, err = w.Write(f.hash.Sum(nil))
		return err
	})
}
