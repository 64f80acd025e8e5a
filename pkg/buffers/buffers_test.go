package buffers_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/buffers"
)

func TestBuffersComeEmpty(t *testing.T) {
	const size, kept = 64, 16 << 10
	p := buffers.New(size, kept)
	if p.Size() != size {
		t.Fatalf("buffers of %d bytes", p.Size())
	}
	for range 100 {
		b := p.Take()
		if len(b.B) != 0 || cap(b.B) < size || cap(b.B) > kept {
			t.Fatalf("%d bytes, and room for %d", len(b.B), cap(b.B))
		}
		b.B = append(b.B, "something"...)
		p.Put(b)
		large := p.Take()
		large.B = append(large.B, make([]byte, 4*kept)...)
		p.Put(large)
		p.Put(nil)
	}
}
