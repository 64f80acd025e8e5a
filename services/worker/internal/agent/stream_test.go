package agent

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// sent is a stream that keeps the chunks of each message.
type sent struct {
	grpc.ServerStreamingServer[workerv1.InvokeStreamResponse]
	messages [][]string
}

func (s *sent) Send(m *workerv1.InvokeStreamResponse) error {
	chunks := []string{string(m.GetChunk())}
	for _, c := range m.GetMoreChunks() {
		chunks = append(chunks, string(c))
	}
	s.messages = append(s.messages, chunks)
	return nil
}

// Chunks leave together up to a bound, each once and in their order, and alone for who
// does not read them otherwise.
func TestChunksLeaveTogether(t *testing.T) {
	for _, c := range []struct {
		batch bool
		sizes []int
	}{{true, []int{maxBatch, maxBatch, 44}}, {false, slices.Repeat([]int{1}, 2*maxBatch+44)}} {
		to := new(sent)
		s := &sink{stream: to, batch: c.batch, begun: true}
		s.out.Event = &s.chunk
		var want []string
		for i := range 2*maxBatch + 44 {
			want = append(want, fmt.Sprint(i))
			if err := s.Chunk(fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // with nothing held nothing is sent
			if err := s.Idle(); err != nil {
				t.Fatal(err)
			}
		}
		var sizes []int
		for _, m := range to.messages {
			sizes = append(sizes, len(m))
		}
		if !slices.Equal(sizes, c.sizes) || !slices.Equal(slices.Concat(to.messages...), want) {
			t.Errorf("batch %v: messages of %d: %q", c.batch, sizes, to.messages)
		}
	}
}
