package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
)

// pieceBytes is the size of a file's pieces, but for its last.
const pieceBytes = 256 << 10

// ErrTooLarge is a file over its bound.
var ErrTooLarge = errors.New("files: the file is too large")

// Writer writes one file, of which no more than a piece is in memory. It is for one
// goroutine.
type Writer struct {
	store Store
	file  File
	room  Room
	max   int64
	buf   []byte
	sum   hash.Hash
}

// NewWriter begins a file of at most max bytes. What comes of it is for Finished, and
// otherwise for Abandon.
func NewWriter(ctx context.Context, store Store, f File, room Room, most int64) (*Writer, error) {
	if err := store.Begin(ctx, f, room); err != nil {
		return nil, err
	}
	return &Writer{store: store, file: f, room: room, max: most, sum: sha256.New()}, nil
}

// Write adds p to the file.
func (w *Writer) Write(ctx context.Context, p []byte) error {
	if int64(len(p)) > w.max-w.file.Bytes {
		return ErrTooLarge
	}
	w.file.Bytes += int64(len(p))
	w.sum.Write(p)
	for len(p) > 0 {
		n := min(len(p), pieceBytes-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == pieceBytes {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) flush(ctx context.Context) error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.store.Append(ctx, w.file, w.file.Chunks, w.buf, w.room); err != nil {
		return err
	}
	w.file.Chunks++
	w.buf = w.buf[:0]
	return nil
}

// Finished writes what is left and returns the file, whole but not seen yet: that is
// for Store.Finish.
func (w *Writer) Finished(ctx context.Context) (File, error) {
	if err := w.flush(ctx); err != nil {
		return File{}, err
	}
	w.file.SHA256 = hex.EncodeToString(w.sum.Sum(nil))
	return w.file, nil
}

// Abandon forgets the file; also when ctx has ended.
func (w *Writer) Abandon(ctx context.Context) error {
	return w.store.Abandon(context.WithoutCancel(ctx), w.file.ID)
}

// Reader returns the bytes of a file; each read of a piece asks the store.
func Reader(ctx context.Context, store Store, f File) io.Reader {
	return &reader{next: func(seq int64) ([]byte, error) {
		if seq >= f.Chunks {
			return nil, io.EOF
		}
		return store.Piece(ctx, f, seq)
	}}
}

type reader struct {
	next func(seq int64) ([]byte, error)
	seq  int64
	left []byte
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		piece, err := r.next(r.seq)
		if err != nil {
			return 0, err
		}
		r.seq++
		r.left = piece
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
