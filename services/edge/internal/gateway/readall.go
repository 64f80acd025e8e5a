package gateway

import (
	"errors"
	"io"
	"slices"
)

// readAll reads the whole body.
func (b *body) readAll() ([]byte, error) {
	data := make([]byte, 0, min(max(b.length+1, minAtOnce), maxAtOnce))
	for {
		n, err := b.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, b.fail(bodyError(err))
		case len(data) == cap(data):
			data = slices.Grow(data, len(data))
		}
	}
}

// What is reserved for a body at once: all of it, when its length is told and no more is
// taken on a client's word alone.
const (
	minAtOnce = 512
	maxAtOnce = 64 << 10
)
