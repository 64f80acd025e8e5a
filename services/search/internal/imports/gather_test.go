package imports

import (
	"bytes"
	"context"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/store"
)

// taken is a store that has one collection and takes in what is given.
type taken struct{ batches []int }

func (*taken) Collection(context.Context, string, string) (store.Collection, error) {
	return store.Collection{}, nil
}

func (k *taken) Upsert(_ context.Context, _ store.Collection, _ store.Rights, docs []ingest.Input, _ bool) ([]ingest.Result, int64, error) {
	k.batches = append(k.batches, len(docs))
	return make([]ingest.Result, len(docs)), 0, nil
}

// sent is a stream of lines that next makes; it forgets what it is told.
type sent struct{ next func() ([]Line, error) }

func (s *sent) Recv() ([]Line, error)        { return s.next() }
func (*sent) Send([]Verdict, Progress) error { return nil }
func (k *taken) take(t *testing.T, s *sent) { //nolint:thelper // it is the test's one step
	m := New(Options{
		Collections: k, Ingester: k, Clock: clock.Real(), BatchDocuments: 256, BatchBytes: 1 << 20, Window: 2,
		Linger: time.Minute, Heartbeat: time.Minute, Idle: time.Minute, Streams: 1, TenantStreams: 1,
	})
	if err := m.Run(t.Context(), Request{}, s); err != nil {
		t.Fatal(err)
	}
}

// TestLinesWithoutAnIDShareABatch checks that lines which are wrong are not
// taken for many lines of one document, each of which waits for the one before.
func TestLinesWithoutAnIDShareABatch(t *testing.T) {
	var k taken
	lines := make([]Line, 200)
	for i := range lines {
		if i%2 == 0 {
			lines[i].Err = apierr.Invalid("", "is no JSON")
		}
	}
	k.take(t, &sent{next: func() ([]Line, error) { return lines, io.EOF }})
	if len(k.batches) != 1 || k.batches[0] != 100 {
		t.Errorf("batches of %v documents, want one of 100", k.batches)
	}
}

// TestSettledLinesAreForgotten checks that an import of many lines of one
// document, each of which waits for the one before, holds no more than its window.
func TestSettledLinesAreForgotten(t *testing.T) {
	var k taken
	var first weak.Pointer[byte]
	kept, n := true, 0
	k.take(t, &sent{next: func() ([]Line, error) {
		if n++; n == 50 {
			runtime.GC()
			kept = first.Value() != nil
			return nil, io.EOF
		}
		content := bytes.Repeat([]byte("x"), 4096)
		if n == 1 {
			first = weak.Make(&content[0])
		}
		return []Line{{Document: ingest.Input{ID: "same", Content: content}}}, nil
	}})
	if kept {
		t.Error("the first line's document is still held 49 lines later")
	}
}
