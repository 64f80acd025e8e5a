package buffers_test

import (
	"testing"

	"github.com/poterne/poterne/services/edge/internal/buffers"
)

func TestBuffersComeEmpty(t *testing.T) {
	var p buffers.Pool
	for range 100 {
		b := p.Take()
		if len(b.B) != 0 || cap(b.B) > 16<<10 {
			t.Fatalf("%d bytes, and room for %d", len(b.B), cap(b.B))
		}
		b.B = append(b.B, "something"...)
		p.Put(b)
		large := p.Take()
		large.B = append(large.B, make([]byte, 64<<10)...)
		p.Put(large)
		p.Put(nil)
	}
}
