package edge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

const waitingStreams = 300

// begun tells of the first part of an answer that leaves.
type begun struct {
	*httptest.ResponseRecorder
	first func()
}

func (b *begun) Flush() { b.first() }

// What a stream takes while it waits for its engine is its stack and what it keeps. The
// pretended backend's end of it, which is in this process, is in waitingBytes as well.
func TestAWaitingStreamTakesLittle(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Limits.RequestsPerMinute = 100_000 })
	end := make(chan struct{})
	g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		if err := out.Send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: servedBy()}}); err != nil {
			return err
		}
		if err := sendChunk(out, firstChunk); err != nil {
			return err
		}
		<-end
		return sendFinish(out)
	}
	var waiting, over sync.WaitGroup
	ask := func(n int) {
		waiting.Add(n)
		for range n {
			over.Go(func() {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(fmt.Sprintf(sayHi, "small", `,"stream":true`)))
				req.Header.Set("Authorization", "Bearer "+g.key)
				req.Header.Set("Content-Type", "application/json")
				first := sync.OnceFunc(waiting.Done)
				rec := httptest.NewRecorder()
				g.Handler().ServeHTTP(&begun{rec, first}, req)
				if first(); rec.Code != http.StatusOK {
					t.Errorf("%d: %s", rec.Code, rec.Body)
				}
			})
		}
		waiting.Wait()
	}
	ask(20) // what is made once
	before := kept()
	ask(waitingStreams)
	each := (max(kept(), before) - before) / waitingStreams
	close(end)
	over.Wait()
	if t.Logf("a stream that waits takes %d bytes", each); each > waitingBytes {
		t.Errorf("a stream that waits takes %d bytes, want at most %d", each, waitingBytes)
	}
}

// kept is the bytes of what the heap keeps and of stacks.
func kept() uint64 {
	runtime.GC()
	runtime.GC() // pools are empty after the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
