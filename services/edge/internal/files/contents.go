package files

import (
	"context"
	"errors"
)

// The places, as they are written beside each file: they must not change.
const (
	// PlaceRows is the edge's own store.
	PlaceRows = ""
	// PlaceDirectory is files.directory, and PlaceBucket files.bucket.
	PlaceDirectory = "directory"
	PlaceBucket    = "bucket"
)

// ErrDamaged is a piece that is not as it was written.
var ErrDamaged = errors.New("files: a piece of the file is not whole")

// Contents keeps pieces of files outside of the edge's store, which knows of each file
// before its first piece is put, and until Remove has succeeded. It is safe for
// concurrent use, also by several edges.
type Contents interface {
	// Put keeps a piece: whole and for good when it returns, and otherwise whole or not
	// at all. One that is there is replaced.
	Put(ctx context.Context, id string, seq int64, data []byte) error
	// Get returns a piece, or ErrNotFound.
	Get(ctx context.Context, id string, seq int64) ([]byte, error)
	// Remove forgets a file that has up to pieces pieces; none may be there.
	Remove(ctx context.Context, id string, pieces int64) error
}

// Place is Contents by the name that is written beside their files.
type Place struct {
	Name     string
	Contents Contents
}

// pieceLength is how many bytes a piece of f has.
func pieceLength(f File, seq int64) int64 {
	if seq == f.Chunks-1 {
		return f.Bytes - seq*pieceBytes
	}
	return pieceBytes
}
